var e="view:";export{e as a};
