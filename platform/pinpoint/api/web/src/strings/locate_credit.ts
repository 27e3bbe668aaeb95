/** Names of photos in the view `locate`. */

export const photoNumber = (index: number) => `Your photo ${index}`;
export const deleted = "deleted image";
export const license = (license: string) => `License: ${license}`;
export const unknown = "unknown";
