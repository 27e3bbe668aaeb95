import{a as t}from"./chunk-YTXKM3WB.js";function r(e,o){t("a",{href:e,download:o}).click(),setTimeout(()=>URL.revokeObjectURL(e),6e4)}export{r as a};
