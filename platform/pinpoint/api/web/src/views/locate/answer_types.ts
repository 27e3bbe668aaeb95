/** The parts of an answer of `POST /v1/locate` that the view shows; see openapi.json. */

export type SourceKind = "photo" | "street";

export interface LatLon {
  lat: number;
  lon: number;
}

export interface Verification {
  inliers: number;
  verified: boolean;
  false_match_rate: number | null;
  status: string;
}

export interface NearestPlace {
  name: string;
  region: string;
  country: string;
  distance_m: number;
}

/** Who must be named with an image. */
export interface ImageCredit {
  file_name: string | null;
  source: string | null;
  license: string | null;
  attribution: string | null;
}

/** A gallery image that the answer names. */
export interface CitedImage extends LatLon, ImageCredit {
  image_id: string;
  source_kind: SourceKind;
  nearest_place: NearestPlace | null;
}

/** An image near a candidate. */
export interface Evidence extends CitedImage {
  /** Meters from the candidate. */
  distance_m: number;
  similarity: number;
  attention: number | null;
}

export interface ChannelScore {
  score: number;
  rank: number | null;
}

export type Channels = Readonly<Record<string, ChannelScore>>;

export interface Candidate extends CitedImage {
  rank: number;
  captured_at: string | null;
  weight: number;
  score: number;
  rerank_logit: number | null;
  evidence_share: number;
  near_duplicate: boolean;
  channels: Channels;
  verification: Verification | null;
  evidence: Evidence[];
}

export interface Citation extends CitedImage {
  role: "candidate" | "evidence";
  /** Meters from the finding. */
  distance_m: number;
  similarity: number;
  verification: Verification | null;
  copies: ImageCredit[];
}

export interface ClaimPosition {
  point: LatLon | null;
  position_source: string | null;
  position_note: string | null;
  captured_at: string | null;
  time_source: string | null;
  time_assumed_utc: boolean;
  distance_m: number | null;
  agrees: boolean | null;
}

/** What the C2PA manifest of a photo states. */
export interface C2paClaim extends ClaimPosition {
  state: string;
  state_reason: string | null;
  failure_codes: string[];
  data_hash_matches: boolean | null;
  generator: string | null;
  signer: string | null;
  signer_organization: string | null;
  signed_at: string | null;
  declares_generative_ai: boolean;
}

export interface Claim extends ClaimPosition {
  /** Number of the photo in the query, from 0. */
  photo: number;
  heading_deg: number | null;
  c2pa: C2paClaim;
}

/** Points of both images that agree on one geometry, in pixels of the given sizes. */
export interface ImageMatch {
  image_id: string;
  photo: number;
  query_width_px: number;
  query_height_px: number;
  image_width_px: number;
  image_height_px: number;
  query_points: [number, number][];
  image_points: [number, number][];
}

export interface CredibleRegion {
  probability: number;
  area_km2: number;
  geometry: Polygonal;
}

export type Ring = [number, number][];

export type Polygonal = { type: "Polygon"; coordinates: Ring[] } | { type: "MultiPolygon"; coordinates: Ring[][] };

export interface ExplainedCandidate {
  image_id: string;
  rank: number;
  retrieval_rank: number;
  channels: Channels;
  num_evidence: Record<string, number>;
  weight: number;
  rerank_logit: number | null;
  num_inliers: number | null;
}

export interface DroppedImage {
  image_id: string;
  source_kind: SourceKind;
  drop_reason: string;
  channels: Channels;
}

export interface Explanation {
  num_hits: Record<string, number>;
  candidates: ExplainedCandidate[];
  num_dropped: number;
  dropped: DroppedImage[];
}

export interface Posterior {
  probability_within_km: { radius_km: number; probability: number }[];
  credible_regions: CredibleRegion[];
  names: { level: string; name: string; probability: number }[];
  p_not_in_gallery: number | null;
  p_outside_candidates: number;
}

export interface CredibleDisc {
  probability: number;
  radius_m: number;
}

export interface Answer {
  point: LatLon | null;
  granularity: "exact" | "radius" | "city" | "country";
  place: string | null;
  abstention_reason: string | null;
  credible_discs: CredibleDisc[];
  calibrated: boolean;
  calibration_note: string;
  posterior: Posterior | null;
  candidates: Candidate[];
  num_candidates: number;
  no_match_logit: number | null;
  citations: Partial<Record<SourceKind, Citation[]>>;
  verified: boolean;
  matches: ImageMatch[] | null;
  claims: Claim[];
  warnings: string[];
  bundle: { name: string; digest: string; note: string };
  ranker: string;
  ranker_fallback_reason: string | null;
  index: { engine: string; build: string | null };
  explanation: Explanation | null;
  timings_ms: Record<string, number>;
}
