/** The parts of an answer of `POST /v1/locate` that the view shows; see openapi.json. */

export type SourceKind = "photo" | "street";

export interface LatLon {
  lat: number;
  lon: number;
}

export interface Verification {
  inliers: number;
  verified: boolean;
  status: string;
}

export interface NearestPlace {
  name: string;
  region: string;
  country: string;
  distance_m: number;
}

/** A gallery image that the answer names. */
export interface CitedImage extends LatLon {
  image_id: string;
  file_name: string;
  source: string;
  source_kind: SourceKind;
  license: string | null;
  attribution: string | null;
  nearest_place: NearestPlace | null;
}

export interface Evidence extends CitedImage {
  distance_m: number;
  similarity: number | null;
  attention: number | null;
}

export interface ChannelScore {
  score: number;
  rank: number;
}

export interface Candidate extends CitedImage {
  rank: number;
  weight: number;
  score: number | null;
  rerank_logit: number | null;
  evidence_share: number | null;
  channels: Record<string, ChannelScore>;
  verification: Verification | null;
  evidence: Evidence[];
}

export interface Citation extends CitedImage {
  role: string;
  distance_m: number | null;
  similarity: number | null;
  verification: Verification | null;
}

export interface Claim {
  photo: number;
  point: LatLon | null;
  position_source: string | null;
  position_note: string | null;
  captured_at: string | null;
  time_source: string | null;
  distance_m: number | null;
  agrees: boolean | null;
}

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

export type Polygonal =
  | { type: "Polygon"; coordinates: [number, number][][] }
  | { type: "MultiPolygon"; coordinates: [number, number][][][] };

export interface Explanation {
  num_hits: Record<string, number>;
  candidates: {
    image_id: string;
    rank: number;
    is_shown: boolean;
    retrieval_rank: number;
    channels: Record<string, ChannelScore>;
    num_evidence: Record<string, number>;
    weight: number;
    rerank_logit: number | null;
    num_inliers: number | null;
    verified: boolean | null;
  }[];
  num_dropped: number;
  dropped: { image_id: string; source_kind: SourceKind; drop_reason: string }[];
}

export interface Answer {
  point: LatLon | null;
  granularity: string;
  place: string | null;
  abstention_reason: string | null;
  credible_discs: { probability: number; radius_m: number }[];
  calibrated: boolean;
  calibration_note: string | null;
  posterior: {
    probability_within_km: { radius_km: number; probability: number }[];
    credible_regions: CredibleRegion[];
    names: { level: string; name: string; probability: number }[];
    p_not_in_gallery: number | null;
  } | null;
  candidates: Candidate[];
  num_candidates: number;
  citations: Partial<Record<SourceKind, Citation[]>>;
  verified: boolean | null;
  matches: ImageMatch[] | null;
  claims: Claim[];
  warnings: string[];
  bundle: { name: string; digest: string; note: string | null };
  ranker: string;
  ranker_fallback_reason: string | null;
  index: { engine: string; build: string };
  explanation: Explanation | null;
  timings_ms: Record<string, number>;
}
