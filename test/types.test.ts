/** The public types, held by the compiler: `tsc` fails where one of them changes. */
import { describe, expectTypeOf, it } from 'vitest';
import {
  type Conversation,
  type Decision,
  type Encoder,
  type ErrorCode,
  ExpertIndex,
  type Fit,
  type Objective,
  type PointsmanError,
  Router,
  type Scorer,
  type SearchResult,
} from '../src/index.js';

describe('types', () => {
  it('ExpertIndex', () => {
    expectTypeOf(ExpertIndex).toBeConstructibleWith({ dimensions: 8 });
    expectTypeOf(ExpertIndex).toBeConstructibleWith({ dimensions: 8, threads: 2, backend: 'cpu' });
    expectTypeOf<ExpertIndex['search']>().returns.resolves.toEqualTypeOf<SearchResult>();
    expectTypeOf<ExpertIndex['remove']>().returns.resolves.toBeNumber();
    expectTypeOf<ExpertIndex['vector']>().returns.toEqualTypeOf<Float32Array | undefined>();
    expectTypeOf<SearchResult['scores']>().toEqualTypeOf<Float32Array>();
    expectTypeOf<{ filter: undefined }>().not.toExtend<Parameters<ExpertIndex['search']>[1]>(); // k is needed
  });

  it('the index is a scorer of the router', () => {
    expectTypeOf<ExpertIndex>().toExtend<Scorer>();
  });

  it('Router', () => {
    expectTypeOf<Router['route']>().parameter(0).toEqualTypeOf<readonly Conversation[]>();
    expectTypeOf<Router['route']>().returns.resolves.toEqualTypeOf<Decision[]>();
    expectTypeOf<Decision['candidates'][number]['predictions']>().toEqualTypeOf<{
      retry?: number;
      rating?: number;
      length?: number;
      score?: number;
    }>();
    expectTypeOf<{ retry: -1; rating: 0.5 }>().toExtend<Objective>();
    expectTypeOf<{ retry: 'never' }>().not.toExtend<Objective>();
    expectTypeOf(Router.open).parameter(0).toBeString();
  });

  it('an encoder and a fit can be written by hand', () => {
    expectTypeOf({
      dimensions: 2,
      encode: async (conversations: readonly Conversation[]) => new Float32Array(2 * conversations.length),
    }).toExtend<Encoder>();
    const fit: Fit = async () => async (conversations) => conversations.map(() => [{ expert: 'one', probability: 1 }]);
    expectTypeOf(fit).returns.resolves.toBeFunction();
  });

  it('errors carry a code of the table', () => {
    expectTypeOf<PointsmanError['code']>().toEqualTypeOf<ErrorCode>();
    expectTypeOf<'BAD_K'>().toExtend<ErrorCode>();
    expectTypeOf<'OOPS'>().not.toExtend<ErrorCode>();
  });
});
