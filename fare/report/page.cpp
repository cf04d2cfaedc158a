#include "fare/report/page.h"

#include "fare/report/html.h"

namespace fare {
namespace {

// Colours: one set of names, given twice (light, dark); print always uses the light set. Signed maps run from blue over
// the page's own grey to orange, which colour-blind readers can tell apart.
constexpr const char* kStyle = R"css(
:root {
  color-scheme: light;
  --page: #ffffff; --text: #1b1f24; --quiet: #59636e; --line: #d5dae0; --soft: #f4f6f8; --accent: #a8480a; --mark: #3b6fa8;
  --yes: #14653a; --yes-back: #e3f4ea; --no: #a32626; --no-back: #fbe9e9; --open: #7a5400; --open-back: #fdf2d8;
  --cloud: #8b95a1;
  --d0: #1c4f8c; --d1: #3f74ad; --d2: #6f9bc8; --d3: #a1c1de; --d4: #cfdfee; --d5: #eceef0;
  --d6: #f6dcc3; --d7: #efbd8d; --d8: #e1985a; --d9: #c8702e; --d10: #a04c12;
  --q0: #eef2f6; --q1: #dfe7ef; --q2: #cddbe8; --q3: #b8cde0; --q4: #a1bdd7; --q5: #89abcc; --q6: #7098bf; --q7: #5885b1; --q8: #4171a1; --q9: #2c5e90; --q10: #1c4b7c;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    color-scheme: dark;
    --page: #14171a; --text: #e6e9ec; --quiet: #9aa5b1; --line: #343b43; --soft: #1d2226; --accent: #f0a15e; --mark: #7db0e6;
    --yes: #7fd6a4; --yes-back: #16321f; --no: #f29b9b; --no-back: #3c1c1c; --open: #eec56a; --open-back: #3a2d10;
    --cloud: #77828e;
    --d0: #8cc0f5; --d1: #6a9fd6; --d2: #4d7fb3; --d3: #375f8a; --d4: #2b4663; --d5: #2b3036;
    --d6: #5a422c; --d7: #85582f; --d8: #b27136; --d9: #d98d46; --d10: #ffb26b;
    --q0: #22282e; --q1: #26323d; --q2: #2a3c4d; --q3: #2f485f; --q4: #345572; --q5: #3b6386; --q6: #44729a; --q7: #5083b0; --q8: #6095c5; --q9: #74a9da; --q10: #8cbeee;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(0.9rem, 3vw, 2.5rem) 4rem; max-width: 82rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.15rem; font-weight: 600; color: var(--quiet); margin: 0 0 0.5rem; }
h2 { font-size: 1.3rem; margin: 2.8rem 0 0.6rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.4rem; }
p, ul, ol, dl { max-width: 52rem; }
a { color: var(--mark); }
small, .small { font-size: 0.85rem; color: var(--quiet); }
code { font: 0.88em ui-monospace, "DejaVu Sans Mono", monospace; background: var(--soft); padding: 0.05em 0.3em; border-radius: 3px; }
pre { font: 0.85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--soft); padding: 0.8rem 1rem; border-radius: 6px; white-space: pre-wrap; }
.hash { font-size: 0.75em; }
.headline { font-size: 1.55rem; line-height: 1.35; font-weight: 600; margin: 0.2rem 0 0.6rem; max-width: 60rem; }
.note { border-left: 3px solid var(--open); padding-left: 0.7rem; }
.undef { color: var(--open); font-style: italic; }
.range { color: var(--quiet); white-space: nowrap; }
nav { font-size: 0.9rem; margin: 1rem 0 0; }
nav a { margin-right: 0.9rem; display: inline-block; }
.chip { display: inline-block; padding: 0.05rem 0.55rem; border-radius: 1rem; font-size: 0.85rem; font-weight: 600; white-space: nowrap; border: 1px solid; }
.chip.yes { color: var(--yes); background: var(--yes-back); }
.chip.no { color: var(--no); background: var(--no-back); }
.chip.unresolved { color: var(--open); background: var(--open-back); }
.chip.not_run { color: var(--quiet); background: var(--soft); border-style: dashed; }
.ladder { list-style: none; padding: 0; margin: 1.2rem 0; max-width: none; border-top: 1px solid var(--line); }
.ladder li { display: grid; grid-template-columns: 1.6rem 9.5rem 8.2rem minmax(0, 1fr); gap: 0.2rem 0.8rem; align-items: baseline; padding: 0.55rem 0; border-bottom: 1px solid var(--line); }
.ladder .stage { color: var(--quiet); text-align: right; font-variant-numeric: tabular-nums; }
.ladder .name { font-weight: 600; }
.ladder .why { min-width: 0; }
.ladder .chip { justify-self: start; }
.ladder em { color: var(--quiet); font-style: normal; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
.card { background: var(--soft); border-radius: 8px; padding: 0.9rem 1.1rem; }
.card h3 { margin: 0; font-size: 0.95rem; color: var(--quiet); }
.card p { margin: 0.25rem 0; }
.card .big { font-size: 2rem; font-weight: 650; line-height: 1.2; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); gap: 0.25rem 1rem; }
dt { color: var(--quiet); }
dd { margin: 0; min-width: 0; }
.block { min-width: 0; }
.scroll { overflow-x: auto; max-width: 100%; margin: 0.8rem 0;
  background: linear-gradient(to right, var(--page) 30%, transparent) 0 0 / 2.5rem 100% local no-repeat,
    linear-gradient(to left, var(--page) 30%, transparent) 100% 0 / 2.5rem 100% local no-repeat,
    linear-gradient(to right, var(--line), transparent) 0 0 / 0.8rem 100% scroll no-repeat,
    linear-gradient(to left, var(--line), transparent) 100% 0 / 0.8rem 100% scroll no-repeat; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
.caption { font-size: 0.9rem; font-weight: 600; margin: 1rem 0 -0.4rem; }
th, td { padding: 0.28rem 0.6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; color: var(--quiet); vertical-align: bottom; }
th:first-child, td:first-child { padding-left: 0.2rem; }
.num { text-align: right; white-space: nowrap; }
td.gap { font-size: 0.8rem; }
td:first-child code { white-space: nowrap; }
td .phrase { display: inline-block; min-width: 13rem; }
td .undef.marked { white-space: nowrap; }
td .hash { overflow-wrap: anywhere; display: inline-block; min-width: 12rem; }
.pair { display: flex; flex-wrap: wrap; gap: 0 2.5rem; align-items: flex-start; }
.pair > * { max-width: 100%; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 29rem), 1fr)); gap: 0.5rem 2.5rem; align-items: start; }
.figures > * { min-width: 0; }
figure { margin: 0.8rem 0; max-width: 34rem; }
figure.wide { max-width: 50rem; overflow-x: auto; }
figure.wide svg { min-width: 32rem; }
figcaption { font-size: 0.85rem; color: var(--quiet); }
details > summary { cursor: pointer; margin: 0.8rem 0; color: var(--mark); }
svg { display: block; width: 100%; height: auto; overflow: hidden; font: 13px system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
svg text { fill: var(--text); }
svg .head { font-weight: 600; font-size: 14px; }
svg .tick, svg .absent { fill: var(--quiet); font-size: 12px; }
svg .absent { font-style: italic; fill: var(--open); }
svg .axis { fill: var(--quiet); font-size: 12.5px; }
svg text.strong { font-weight: 600; fill: var(--accent); }
svg .halo { stroke: var(--page); stroke-width: 3px; paint-order: stroke; }
svg .limit-name { fill: var(--open); font-size: 12px; stroke: var(--page); stroke-width: 3px; paint-order: stroke; }
svg .grid { stroke: var(--line); stroke-width: 0.7; }
svg .zero { stroke: var(--quiet); stroke-width: 1.1; }
svg .limit { stroke: var(--open); stroke-width: 1.2; stroke-dasharray: 5 4; }
svg .bar { stroke: var(--mark); stroke-width: 1.8; }
svg .bar.strong { stroke: var(--accent); stroke-width: 2.2; }
svg .mark { fill: var(--mark); }
svg .mark.strong { fill: var(--accent); stroke: var(--page); stroke-width: 1; }
svg .cloud { fill: var(--cloud); fill-opacity: 0.55; }
svg .point { fill: var(--mark); stroke: var(--page); stroke-width: 0.6; }
svg .point.l0 { fill-opacity: 0.38; } svg .point.l1 { fill-opacity: 0.62; } svg .point.l2 { fill-opacity: 1; }
svg .random { stroke: var(--cloud); stroke-width: 1.5; fill: none; }
svg .front { stroke: var(--mark); stroke-width: 1.8; fill: none; }
svg .random-front { stroke: var(--cloud); stroke-width: 1.5; stroke-dasharray: 3 3; fill: none; }
svg .na { fill: none; stroke: var(--line); stroke-width: 0.6; }
svg .d0 { fill: var(--d0); } svg .d1 { fill: var(--d1); } svg .d2 { fill: var(--d2); } svg .d3 { fill: var(--d3); } svg .d4 { fill: var(--d4); } svg .d5 { fill: var(--d5); }
svg .d6 { fill: var(--d6); } svg .d7 { fill: var(--d7); } svg .d8 { fill: var(--d8); } svg .d9 { fill: var(--d9); } svg .d10 { fill: var(--d10); }
svg .q0 { fill: var(--q0); } svg .q1 { fill: var(--q1); } svg .q2 { fill: var(--q2); } svg .q3 { fill: var(--q3); } svg .q4 { fill: var(--q4); } svg .q5 { fill: var(--q5); }
svg .q6 { fill: var(--q6); } svg .q7 { fill: var(--q7); } svg .q8 { fill: var(--q8); } svg .q9 { fill: var(--q9); } svg .q10 { fill: var(--q10); }
@media (max-width: 46rem) {
  .headline { font-size: 1.25rem; }
  .ladder li { grid-template-columns: 1.2rem minmax(0, 1fr) max-content; }
  .ladder .why { grid-column: 2 / -1; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: 0.5rem; }
}
@media print {
  html { font-size: 9pt; }
  body { max-width: none; padding: 0; }
  nav, details > summary { display: none; }
  .scroll { overflow: visible; background: none; }
  .figures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); }
  figure.wide { overflow: visible; }
  details::details-content { content-visibility: visible; block-size: auto; }
  table { font-size: 6.5pt; line-height: 1.25; }
  th, td { padding: 0.1rem 0.22rem; }
  .num, .range, td:first-child code, td .undef.marked { white-space: normal; }
  td code, td .hash { overflow-wrap: anywhere; padding: 0; background: none; }
  td .phrase, td .hash { min-width: 0; }
  td.gap, td .undef, td small { font-size: 6pt; }
  .chip { font-size: 6.5pt; padding: 0 0.3rem; }
  .pair { display: block; }
  .card, .chip, svg { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  figure, .card, .ladder li, tr { break-inside: avoid; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  .ladder li { padding: 0.3rem 0; }
  h2 { margin-top: 1.6rem; }
  h2, h3, h2 + p, .caption, thead { break-after: avoid; }
  p { orphans: 3; widows: 3; }
}
)css";

}  // namespace

std::string html_page(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta "
         "charset=\"utf-8\"/>\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>" +
         escape_html(title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n" + body +
         "</body>\n</html>\n";
}

}  // namespace fare
