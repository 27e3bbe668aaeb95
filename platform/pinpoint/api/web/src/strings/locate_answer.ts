/** Texts of an answer in the view `locate`. */

export const finding = "Finding";
export const near = (place: string) => `Near ${place}`;
export const within = (radius: string) => `within ${radius}`;
export const regionOf = (area: string) => `region of ${area}`;
export const probabilities = "Probabilities of places and distances";
export const verified = "verified";
export const uncalibrated = "not calibrated";
export const nearDuplicate = "near-duplicate in the gallery";
export const coarse = (level: string) => `The place is protected: this is the center of its ${level}.`;
export const notCalibrated = "The percentages are weights of the ranker, not measured probabilities.";
export const verifiedAnswer = "A cited image shows the same surfaces, matched point by point.";
export const notVerified = "No cited image was matched point by point. The finding may still be right.";

export const abstained = "This photo cannot be located";
export const abstainedShort = "Not located";
export const abstentionReasons: Record<string, string> = {
  no_candidates: "The search space has no image at all.",
  not_in_gallery: "The gallery most likely has no image near the place of this photo.",
  outside_candidates: "The photo was most likely taken near none of the candidates.",
};
export const notInGallery = "that the gallery has no image within 25 km";
export const outsideCandidates = "that the place is near none of the candidates";
export const whatHelps = "What is missing, and what helps";
export const advice = [
  "Add images of the area where the photo may have been taken, of both kinds.",
  "Remove restrictions under Options.",
  "Use a region with buildings, signs or terrain, or add photos of the same place.",
];
export const showGaps = "Show the gaps of the gallery";
export const showAnyway = "The candidates below are not a finding.";

export const dossier = "Dossier";
export const dossierPhoto = "with the photo";
export const dossierWorking = "The server writes the dossier …";
export const dossierSaved = (name: string) => `Saved as ${name}.`;

export const claims = "What the photo itself says";
export const claimsNote = "Metadata can be wrong or forged. The finding does not use them.";
export const claimPoint = (point: string, source: string) => `Position ${point} (${source})`;
export const claimNone = "No position in the metadata";
export const claimTime = (time: string, source: string) => `Time ${time} (${source})`;
export const timeUncertain = ", no time zone: may be wrong by hours";
export const claimHeading = (degrees: string) => `Heading ${degrees}°`;
export const toFinding = (distance: string) => `${distance} from the finding`;
export const agrees = "agrees with the finding";
export const disagrees = "disagrees with the finding";
export const c2pa = "C2PA manifest";
export const c2paStates: Record<string, string> = {
  trusted: "Valid, by a signer on the trust list",
  valid: "Valid, by a signer that is not on the trust list",
  invalid: "Invalid",
  absent: "None",
  remote: "Only a link, which is not followed",
  not_checked: "Not checked",
};
export const signer = (name: string) => `Signed by ${name}`;
export const signedAt = (time: string) => `Signed at ${time}`;
export const generator = (name: string) => `Made with ${name}`;
export const changed = "The image was changed after it was signed";
export const generativeAi = "Declares content made by generative AI";

export const evidence = "Evidence";
export const kinds = { photo: "Internet photos", street: "Street level" };
export const noEvidence = { photo: "No Internet photo supports it.", street: "No street-level image supports it." };
export const candidates = (shown: number, all: number) => `Candidates (${shown < all ? `${shown} of ` : ""}${all})`;
export const noCandidates = "There is no candidate.";
export const toCandidate = (distance: string) => `${distance} from the candidate`;
export const similarity = (value: string) => `similarity ${value}`;
export const weight = (value: string) => `weight ${value}`;
export const attention = (value: string) => `attention ${value}`;
export const inliers = (count: number) => `${count} matched points`;
export const falseMatches = (rate: string) => `${rate} false matches`;
export const verificationStatus: Record<string, string> = {
  not_matched: "not matched",
  no_texture: "too few key points",
  image_unavailable: "file not available",
  time_budget_used: "not compared in time",
};
export const copyOf = (credit: string) => `Same bytes: ${credit}`;
export const supporting = (count: number) => `Evidence images nearby: ${count}`;
export const compare = (name: string) => `Compare your photo with ${name}`;

export const why = "Why";
export const rankers: Record<string, string> = {
  rerank: "The search found the candidates; the reranker compared each with its evidence and changed their order.",
  vote: "The search found the candidates; those near each other support each other. No reranker ran.",
  coordinates: "The bundle compared the photo with its own list of coordinates; the gallery was not searched.",
};
export const fallback = (reason: string) => `The reranker did not run: ${reason}`;
export const showMatches = (points: number) => `Show ${points} matched points`;
export const noMatchedImage = "No points of your photo were matched with an image.";
export const notExplained = "This key does not get the ranks of the search.";
export const ranks = "Ranks";
export const columns = ["Rank", "Moved", "Image", "Search rank (similarity)", "Logit", "Weight", "Matched points"];
export const rankNote =
  "Moved: ranks gained (▲) or lost (▼) against the search. Channels: image compares images, gps photo and " +
  "position, raw the features of the tower.";
export const noMatch = (logit: string) => `Logit of “none of these”: ${logit}`;
export const attended = "What the reranker attended to for the best candidate";
export const attendedNone = "No evidence";
export const noAttention = "The reranker did not run, so there is no attention.";
export const dropped = (count: number, shown: number) =>
  `Dropped images (${shown < count ? `the best ${shown} of ` : ""}${count})`;
export const dropReasons: Record<string, string> = {
  no_slot: "better images filled the slots of its kind and channel",
  redundant: "next to a better candidate of the same panorama or sequence",
};
export const stages = "Time per stage";
export const milliseconds = (time: number) => `${Math.round(time)} ms`;
export const total = "total";
export const made = (bundle: string, index: string) => `Bundle ${bundle}, index build ${index}`;

export const legend = "Map legend";
export const legendTexts = {
  finding: "Finding",
  guess: "Best guess, no finding",
  regions: "50 % and 90 % area",
  ...kinds,
  claim: "Claimed position",
};
