/** The parts of the API's answers that this view reads; docs/openapi.json describes all of them. */

export type SourceKind = "photo" | "street";

export interface GalleryImage {
  id: string;
  source: string;
  source_kind: SourceKind;
  file_name: string;
  cubemap_face: string | null;
  lat: number;
  lon: number;
  nearest_place: { name: string; country: string };
  captured_at: string | null;
  heading_deg: number | null;
  field_of_view_deg: number | null;
  altitude_m: number | null;
  camera: string | null;
  creator: string | null;
  sequence: string | null;
  license: string | null;
  attribution: string | null;
  sha256: string;
  format: string;
  width_px: number;
  height_px: number;
  uri: string | null;
  state: string;
  version: number;
  position_source: string;
  time_source: string | null;
  field_sources: Record<string, string>;
  attributes: Record<string, unknown>;
  warnings: string[];
}

export interface ImagePage {
  images: GalleryImage[];
  next: string | null;
}

export interface Neighbor {
  image: GalleryImage;
  distance_m: number;
}

export interface SourceSummary {
  name: string;
  kind: SourceKind;
  images: number;
}
