/** Routing: conversations and an objective in, decisions out. */
export type {
  AdvantageUnit,
  Candidate,
  Decision,
  ExpertSet,
  Explore,
  FeatureSpace,
  Hits,
  Policy,
  RouteOptions,
  Scorer,
  Uncertainty,
} from './contract.js';
export { DEFAULT_OBJECTIVE } from './objective.js';
export { type LiveParts, type RoutableModel, Router, type RouterParts } from './router.js';
