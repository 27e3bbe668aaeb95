// Builds static/app.js and static/app.css from src/. `--watch` rebuilds after each change;
// `--out FOLDER` writes elsewhere (for the test that compares a fresh build with the committed one).
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const folder = path.dirname(fileURLToPath(import.meta.url));
const argument = process.argv.indexOf("--out");
const outputFolder = argument < 0 ? path.join(folder, "static") : process.argv[argument + 1];
/** Packages that the page loads from static/vendor/; see vendor.mjs. */
const modules = JSON.parse(readFileSync(path.join(folder, "vendor.json"), "utf8")).modules;

/** Leaves vendored packages out of app.js and imports them by their path. */
const vendoredPackages = {
  name: "vendored packages",
  setup(build) {
    build.onResolve({ filter: /^[@a-z]/ }, ({ path: name }) => {
      const module = modules.find((row) => row.package === name);
      return module ? { path: `./vendor/${module.output}`, external: true } : undefined;
    });
  },
};

const options = {
  absWorkingDir: folder,
  entryPoints: { app: "src/app.ts" },
  outdir: outputFolder,
  bundle: true,
  // Each view is a file of its own, which is loaded when the view is shown.
  splitting: true,
  chunkNames: "[name]-[hash]",
  format: "esm",
  target: "es2022",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  loader: { ".svg": "dataurl" },
  plugins: [vendoredPackages],
  logLevel: "info",
};

for (const name of existsSync(outputFolder) ? readdirSync(outputFolder) : []) {
  if (name.endsWith(".js")) {
    rmSync(path.join(outputFolder, name));
  }
}
if (process.argv.includes("--watch")) {
  await (await esbuild.context(options)).watch();
} else {
  await esbuild.build(options);
}
