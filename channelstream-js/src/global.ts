// What a page without modules finds under the global name.
export * from './index.js';
export { messages } from './messages.js';
export { SharedConnection } from './shared.js';
