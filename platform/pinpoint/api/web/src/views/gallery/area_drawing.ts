/** Drawing of an area on the map with terra-draw, which is loaded at the first use. */

import type { TerraDraw } from "terra-draw";
import type { MapView } from "../../map/map_view";
import { type Outline, simplifyOutline } from "./areas";

export type DrawingMode = "polygon" | "freehand";

/** One drawing at a time. */
export class AreaDrawing {
  readonly #map: MapView;
  #draw: TerraDraw | null = null;
  #isCancelled = false;
  #onEnd: (() => void) | null = null;
  #endedAt = -Infinity;

  constructor(map: MapView) {
    this.#map = map;
  }

  /** Whether clicks on the map belong to a drawing; also the one that has just finished it. */
  get isActive(): boolean {
    return this.#onEnd !== null || performance.now() - this.#endedAt < 400;
  }

  /**
   * Draw an area; `onFinish` gets its outline, with at most 100 positions. `onEnd` is called when
   * drawing ends, also if it is cancelled.
   */
  async start(mode: DrawingMode, onFinish: (outline: Outline) => void, onEnd: () => void): Promise<void> {
    this.stop();
    this.#onEnd = onEnd;
    this.#isCancelled = false;
    try {
      const [terra, adapters] = await Promise.all([
        import("terra-draw"),
        import("terra-draw-maplibre-gl-adapter"),
      ]);
      const map = this.#map.map;
      if (this.#isCancelled || map === null) {
        this.stop();
        return;
      }
      const adapter = new adapters.TerraDrawMapLibreGLAdapter({ map });
      const styles = { fillOpacity: 0.15, outlineWidth: 2 } as const;
      const draw = new terra.TerraDraw({
        adapter,
        modes: [
          new terra.TerraDrawPolygonMode({ styles }),
          new terra.TerraDrawFreehandMode({ styles, drawInteraction: "click-move-or-drag" }),
        ],
      });
      draw.start();
      draw.setMode(mode);
      draw.on("finish", (id) => {
        const geometry = draw.getSnapshotFeature(id)?.geometry;
        if (geometry?.type === "Polygon") {
          const ring = (geometry.coordinates[0] ?? []).slice(0, -1);
          onFinish(simplifyOutline(ring as Outline));
        }
        this.stop();
      });
      this.#draw = draw;
      document.addEventListener("keydown", this.#cancelByKey);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** End drawing; what is not finished is discarded. */
  stop(): void {
    this.#isCancelled = true;
    document.removeEventListener("keydown", this.#cancelByKey);
    this.#draw?.stop();
    this.#draw = null;
    const onEnd = this.#onEnd;
    this.#onEnd = null;
    if (onEnd !== null) {
      this.#endedAt = performance.now();
      onEnd();
    }
  }

  readonly #cancelByKey = (event: KeyboardEvent): void => {
    if (event.key === "Escape") {
      this.stop();
    }
  };
}
