/** A local server that speaks the OpenAI protocol, answers as a test tells it to, and keeps what it was asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  path: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a test sent, it knows
  body: any;
  headers: IncomingMessage['headers'];
  at: number;
}

/** Answers a request, or leaves that to the next: `false`. */
export type Handler = (asked: Asked, response: ServerResponse) => unknown;

export class EndpointServer {
  readonly asked: Asked[] = [];
  /** The most requests that were open at a time. */
  most = 0;
  /** Tried in turn before the protocol's own answer. */
  handlers: Handler[] = [];
  #open = 0;
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  constructor(readonly protocol: Handler) {}

  async start(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/v1`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.most = Math.max(this.most, ++this.#open);
    response.on('close', () => this.#open--);
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part);
    const asked = { path: request.url ?? '', body: JSON.parse(Buffer.concat(parts).toString()), headers: request.headers, at: Date.now() };
    this.asked.push(asked);
    for (const handler of [...this.handlers, this.protocol]) {
      if ((await handler(asked, response)) !== false) return;
    }
  }
}

export function send(response: ServerResponse, value: unknown, status = 200, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof value === 'string' ? value : JSON.stringify(value));
}

/** A handler for the first `times` requests only. */
export function first(times: number, handler: Handler): Handler {
  let left = times;
  return (asked, response) => (left-- > 0 ? handler(asked, response) : false);
}

/** Says that the whole will come, and closes in the middle. */
export const cutBody: Handler = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '5000' });
  response.write('{"data":[{"index":0,"embedding":[0.1,');
  setTimeout(() => response.destroy(), 5);
};

/** What a text is worth to the server of embeddings: any two differ. */
export function embeddingOf(text: string, dimensions: number): number[] {
  let state = 7;
  for (const c of text) state = (state * 31 + (c.codePointAt(0) as number)) % 1_000_003;
  return Array.from({ length: dimensions }, (_, j) => Math.sin(state * (j + 1)));
}

/** `POST …/embeddings`, its list in reverse: only `index` tells which is which. */
export const embeddings =
  (dimensions: number): Handler =>
  ({ body }, response) =>
    send(response, {
      object: 'list',
      data: body.input
        .map((text: string, index: number) => ({ object: 'embedding', index, embedding: embeddingOf(text, dimensions) }))
        .reverse(),
    });
