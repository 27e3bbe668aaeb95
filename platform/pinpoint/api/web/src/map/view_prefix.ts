/** Sources and layers whose id has this prefix belong to a view and survive a change of the style. */
export const viewPrefix = "view:";
