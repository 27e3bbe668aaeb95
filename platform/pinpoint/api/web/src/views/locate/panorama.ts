/** Panoramas in Photo Sphere Viewer, which is loaded at the first use. */

import type { Viewer } from "@photo-sphere-viewer/core";

const stylesheet = "web/vendor/photo-sphere-viewer/index.css";

/** A panorama that is shown. */
export interface ShownPanorama {
  dispose(): void;
}

/**
 * Show an equirectangular image in an element that is part of the page.
 *
 * The viewer takes the blob from its cache: its own request for a `blob:` URL would need `blob:` in
 * `connect-src` of the page's policy.
 */
export async function showPanorama(container: HTMLElement, image: Blob, description: string): Promise<ShownPanorama> {
  const { Cache, Viewer: ViewerClass } = await import("@photo-sphere-viewer/core");
  await loadStylesheet();
  const name = `panorama-${crypto.randomUUID?.() ?? Math.random()}`;
  Cache.add(name, name, image);
  const viewer: Viewer = new ViewerClass({
    container,
    panorama: name,
    navbar: ["zoom", "move", "fullscreen"],
    keyboard: "always",
    mousewheelCtrlKey: false,
  });
  container.setAttribute("aria-label", description);
  await new Promise<void>((resolve, reject) => {
    viewer.addEventListener("ready", () => resolve(), { once: true });
    viewer.addEventListener("panorama-error", (event) => reject(event.error), { once: true });
  });
  return {
    dispose: () => {
      Cache.remove(name, name);
      viewer.destroy();
    },
  };
}

async function loadStylesheet(): Promise<void> {
  if (document.querySelector(`link[href="${stylesheet}"]`) !== null) {
    return;
  }
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = stylesheet;
  await new Promise((resolve) => {
    link.addEventListener("load", resolve, { once: true });
    link.addEventListener("error", resolve, { once: true });
    document.head.append(link);
  });
}
