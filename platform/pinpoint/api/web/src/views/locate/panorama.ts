/** Panoramas in Photo Sphere Viewer, which is loaded at the first use. */

import { createElement } from "../../dom";

const stylesheet = "web/vendor/photo-sphere-viewer/index.css";

/**
 * Show an equirectangular image in an element that is part of the page; returns what removes it.
 *
 * The viewer takes the blob from its cache: its own request for a `blob:` URL would need `blob:` in
 * `connect-src` of the page's policy.
 */
export async function showPanorama(container: HTMLElement, image: Blob): Promise<() => void> {
  const { Cache, Viewer } = await import("@photo-sphere-viewer/core");
  await loadStylesheet();
  const panorama = `panorama-${performance.now()}`;
  Cache.add(panorama, panorama, image);
  const viewer = new Viewer({
    container,
    panorama,
    navbar: ["zoom", "move", "fullscreen"],
    keyboard: "always",
    mousewheelCtrlKey: false,
  });
  await new Promise((resolve, reject) => {
    viewer.addEventListener("ready", resolve, { once: true });
    viewer.addEventListener("panorama-error", ({ error }) => reject(error), { once: true });
  });
  return () => {
    Cache.remove(panorama, panorama);
    viewer.destroy();
  };
}

async function loadStylesheet(): Promise<void> {
  if (document.querySelector(`link[href="${stylesheet}"]`) === null) {
    const link = createElement("link", { rel: "stylesheet", href: stylesheet });
    await new Promise((resolve) => {
      link.onload = link.onerror = resolve;
      document.head.append(link);
    });
  }
}
