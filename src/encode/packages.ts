/** Packages that only some users need: optional peers, loaded where they are used. */
import { PointsmanError } from '../errors.js';

/** @throws PointsmanError PACKAGE_MISSING, which says what to install */
export async function optionalPackage<T>(name: string): Promise<T> {
  try {
    const found = (await import(name)) as T & { default?: T };
    return found.default ?? found;
  } catch (cause) {
    const missing = (cause as { code?: unknown }).code === 'ERR_MODULE_NOT_FOUND';
    const what = missing
      ? `needs the package ${name}, which is not installed`
      : `could not load the package ${name} (${(cause as Error).message})`;
    throw new PointsmanError(
      'PACKAGE_MISSING',
      `the ONNX encoder ${what}. Install both that it needs:\n` +
        '  ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node @huggingface/tokenizers\n' +
        '(the variable keeps onnxruntime-node from downloading libraries for GPUs)',
      { cause },
    );
  }
}
