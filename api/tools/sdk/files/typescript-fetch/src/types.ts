export type { ErrorCode, Export } from './models/index.js';
