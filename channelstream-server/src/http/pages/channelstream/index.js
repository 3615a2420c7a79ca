export * from './channelstream.js';
