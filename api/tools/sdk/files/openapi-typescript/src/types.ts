export type { ErrorCode, Export } from './schema.js';
