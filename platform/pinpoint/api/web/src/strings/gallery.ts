/** Texts of the view `gallery`. */

const numbers = new Intl.NumberFormat("en");
const days = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });
const times = new Intl.DateTimeFormat("en", {
  dateStyle: "medium",
  timeStyle: "medium",
  timeZone: "UTC",
});

/** Number with one noun: `1 image`, `12 images`. */
function count(number: number, noun: string): string {
  return `${numbers.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export const gallery = {
  title: "Gallery",
  intro: "Where your images are, and where one kind is missing.",
  show: "Show on the map",
  layers: {
    all: "All images",
    photo: "Internet photos",
    street: "Street level",
    gaps: "Gaps",
  },
  kinds: { photo: "Internet photo", street: "Street level" },

  inView: {
    cells: (images: number) => `About ${count(images, "image")} in view`,
    points: (images: number) => `${count(images, "image")} in view`,
    sample: (shown: number, all: number) =>
      `${numbers.format(shown)} of about ${count(all, "image")} in view are drawn; zoom in for all`,
    none: "No image in view",
    unknown: "The number in view is not known",
    loading: "Loading the map…",
  },
  listInView: "List images in view",
  tooSlow:
    "The server needs too long to count the filtered images of so large an area. Zoom in, or draw " +
    "an area.",
  tileFailed: "A part of the gallery could not be loaded.",
  mapHint:
    "Select a cell or a point on the map to see its images. With a keyboard: move the map with the " +
    "arrow keys, then list the images in view.",

  legend: {
    title: "Legend",
    unit: (areaKm2: string) => `images per cell of ${areaKm2} km² (mean)`,
    bin: (from: number, to: number | null) =>
      to === null ? `${numbers.format(from)} and more` : `${numbers.format(from)}–${numbers.format(to)}`,
    only: { photo: "only Internet photos", street: "only street level" },
    gapUnit: (areaKm2: string) => `cells of ${areaKm2} km² (mean) with one kind of images`,
    point: "each point is one image",
  },

  filters: {
    title: (active: number) => (active === 0 ? "Filters" : `Filters (${active} active)`),
    reset: "Reset filters",
    source: "Sources",
    sourceHint: "Name of a source",
    creator: "Creators",
    creatorHint: "Exact name of a creator",
    add: "Add",
    remove: (name: string) => `Remove ${name}`,
    unknownSource: (name: string) => `There is no source “${name}”.`,
    time: "Capture time",
    firstDay: "First day",
    lastDay: "Last day",
    allTimes: "All times, images without a time included",
    period: (from: string, to: string) => `${from} to ${to}; images without a time are left out`,
    area: "Area",
    polygon: "Draw polygon",
    lasso: "Draw lasso",
    useView: "Use map view",
    cancelDrawing: "Stop drawing",
    clearArea: "Remove area",
    polygonHint: "Click each corner; click the first one again, or press Enter, to finish. Escape cancels.",
    lassoHint: "Press, draw around an area, and release. Escape cancels.",
    areaSet: (corners: number) => `Area with ${corners} corners`,
    noArea: "Everywhere",
    typedArea: "Type an area",
    typedAreaHint: "min lon, min lat, max lon, max lat – or lat, lon; lat, lon; lat, lon",
    apply: "Apply",
    wrongArea:
      "This is no area: type four numbers (min lon, min lat, max lon, max lat), or three or more " +
      "positions separated by semicolons.",
    areaApplied: "The area filters list and map.",
    areaRemoved: "The area is removed.",
    drawingFailed: "The drawing tool could not be loaded.",
  },

  list: {
    title: {
      cell: "Images of the cell",
      near: "Images at this place",
      box: "Images in view",
    },
    close: "Close list",
    more: "Show more",
    loading: "Loading…",
    shown: (images: number, hasMore: boolean) =>
      hasMore ? `The first ${count(images, "image")}` : count(images, "image"),
    none: "No image matches the filters here.",
    noTime: "no time",
    noPreview: "No preview",
    describe: (kind: string, source: string) => `${kind} of the source ${source}`,
  },

  image: {
    back: "Back",
    loading: "Loading the image…",
    notFound: "There is no such image in your gallery.",
    pictureOf: (name: string) => `Picture ${name}`,
    noPicture: "Your key may not see the picture of this image.",
    show: "Show on map",
    download: "Download file",
    panoramax: "Panoramax item",
    original: "Original page",
    metadata: "Details",
    position: "Position",
    positionSource: "Position from",
    place: "Nearest place",
    accuracy: "Accuracy",
    capturedAt: "Captured",
    timeSource: "Time from",
    heading: "Heading",
    fieldOfView: "Field of view",
    altitude: "Altitude",
    camera: "Camera",
    creator: "Creator",
    sequence: "Sequence",
    source: "Source",
    license: "License",
    attribution: "Attribution",
    size: "Size",
    sha256: "SHA-256",
    state: "State",
    version: "Version",
    face: "Face of a panorama",
    warnings: "Notes",
    unknown: "unknown",
    manual: "corrected by hand",
    degrees: (value: number) => `${numbers.format(Math.round(value * 10) / 10)}°`,
    meters: (value: number) => `${numbers.format(Math.round(value * 10) / 10)} m`,
    pixels: (width: number, height: number, format: string) => `${width} × ${height} px, ${format}`,
    utc: (time: string) => `${times.format(new Date(time))} UTC`,
    day: (time: string) => days.format(new Date(time)),
    neighbors: "Nearby images",
    noNeighbors: "No image within 250 m.",
    lookingAt: "Images that look at this place",
    noLookingAt: "No image within 50 m looks at this place.",
    distance: (meters: number) =>
      meters < 1_000 ? `${Math.round(meters)} m` : `${(meters / 1_000).toFixed(1)} km`,
  },

  edit: {
    start: "Correct position",
    notAllowed: "Your key cannot correct images; it needs the scope “ingest”.",
    title: "Correct position and heading",
    hint:
      "Drag the marker, and its handle for the heading. With a keyboard: type numbers, or move the " +
      "marker with the arrow keys (1 m; with Shift 10 m).",
    lat: "Latitude (°)",
    lon: "Longitude (°)",
    heading: "Heading (° from north, empty if unknown)",
    save: "Save",
    cancel: "Cancel",
    marker: (name: string) => `Position of ${name}; the arrow keys move it`,
    headingHandle: "Heading; the left and right arrow keys turn it",
    unchanged: "Nothing is changed.",
    saved: (meters: string) => `Saved; the image moved by ${meters}.`,
    savedHeading: "Saved; the heading is changed.",
    undo: "Undo",
    undone: "The correction is undone.",
    conflict:
      "Somebody has changed this image in the meantime. The page shows the new state now; correct " +
      "it again if it is still wrong.",
    wrongNumber: "Latitude must be within ±90, longitude within ±180, heading from 0 to less than 360.",
    zeroPosition: "The position 0, 0 cannot be stored.",
  },
} as const;
