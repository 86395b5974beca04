/** OpenAI-compatible endpoints: a patient client, and answers that are asked for once. */
export { Answers } from './answers.js';
export { CLIENT_OPTIONS, Client, type ClientOptions } from './client.js';
