/** Answers of `/v1/reports`. */

export interface Metric {
  name: string;
  value: number | null;
  low: number | null;
  high: number | null;
  unit: "share" | "km" | "probability";
}

export interface ReportSummary {
  id: string;
  created_at: string;
  kind: "evaluation" | "calibration";
  bundle: string;
  title: string;
  is_synthetic: boolean;
  queries: number;
  metrics: Metric[];
}

export interface ReliabilityBin {
  stated: number;
  observed: number;
  queries: number;
}

export interface Report extends ReportSummary {
  reliability: ReliabilityBin[];
  notes: string[];
  errors: { lat: number; lon: number; error_km: number }[] | null;
}

/** A figure with its unit: shares in percent, distances in km. */
export function formatFigure(value: number | null, unit: Metric["unit"], missing: string): string {
  if (value === null) {
    return missing;
  }
  if (unit === "share") {
    return `${(value * 100).toFixed(1)} %`;
  }
  return unit === "km" ? `${value.toPrecision(3)} km` : value.toFixed(3);
}
