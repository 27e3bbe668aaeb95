/** Drawing of an area on the map with terra-draw, which is loaded at the first use. */

import type { TerraDraw } from "terra-draw";
import type { MapView } from "../../map/map_view";
import { type Outline, simplifyOutline } from "./areas";

export type DrawingMode = "polygon" | "freehand";

export type AreaDrawing = ReturnType<typeof createAreaDrawing>;

/** One drawing at a time. */
export function createAreaDrawing(map: MapView) {
  let current: TerraDraw | null = null;
  let isCancelled = false;
  let notifyEnd: (() => void) | null = null;
  let endedAt = -Infinity;
  const cancelByKey = (event: KeyboardEvent): void => {
    if (event.key === "Escape") {
      stop();
    }
  };
  const mapView = map;

  /** Whether clicks on the map belong to a drawing; also the one that has just finished it. */
  function isActive(): boolean {
    return notifyEnd !== null || performance.now() - endedAt < 400;
  }

  /**
   * Draw an area; `onFinish` gets its outline, with at most 100 positions. `onEnd` is called when
   * drawing ends, also if it is cancelled.
   */
  async function start(mode: DrawingMode, onFinish: (outline: Outline) => void, onEnd: () => void): Promise<void> {
    stop();
    notifyEnd = onEnd;
    isCancelled = false;
    try {
      const [terra, adapters] = await Promise.all([import("terra-draw"), import("terra-draw-maplibre-gl-adapter")]);
      const map = mapView.map;
      if (isCancelled || map === null) {
        stop();
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
        stop();
      });
      current = draw;
      document.addEventListener("keydown", cancelByKey);
    } catch (error) {
      stop();
      throw error;
    }
  }

  /** End drawing; what is not finished is discarded. */
  function stop(): void {
    isCancelled = true;
    document.removeEventListener("keydown", cancelByKey);
    current?.stop();
    current = null;
    const onEnd = notifyEnd;
    notifyEnd = null;
    if (onEnd !== null) {
      endedAt = performance.now();
      onEnd();
    }
  }
  return {
    get isActive() {
      return isActive();
    },
    start,
    stop,
  };
}
