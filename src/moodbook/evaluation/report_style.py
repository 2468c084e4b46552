"""The style of the HTML report."""

STYLE = """
:root{--paper:#fff;--ink:#1c2430;--muted:#5a6675;--line:#d9dee5;--soft:#f3f5f8;--accent:#1f5fbf;--range:#9dbce8;
--error:#b3261e;--warning:#9a6700;--note:#5a6675}
@media (prefers-color-scheme:dark){:root{--paper:#12161c;--ink:#e4e8ee;--muted:#9aa6b5;--line:#313a46;--soft:#1b212a;
--accent:#82b1ff;--range:#3c5c8f;--error:#ff8a80;--warning:#f2c14e;--note:#9aa6b5}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:36px 0 6px;padding-top:10px;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:24px 0 4px;overflow-wrap:anywhere}
p{margin:6px 0}
.muted{color:var(--muted);font-size:.87rem}
ul.muted{padding-left:1.2em;margin:6px 0}
.scroll{overflow-x:auto;margin:10px 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th{text-align:left;font-weight:600;color:var(--muted);white-space:nowrap}
th,td{padding:4px 14px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
td:first-child{white-space:nowrap}
.findings{list-style:none;padding:0;margin:10px 0}
.findings li{border-left:4px solid var(--note);background:var(--soft);padding:8px 14px;margin:8px 0;
overflow-wrap:anywhere}
.findings li.error{border-color:var(--error)}.findings li.warning{border-color:var(--warning)}
.findings li.error>strong{color:var(--error)}.findings li.warning>strong{color:var(--warning)}
.tags{margin-top:10px}
.only{margin-top:36px;padding:8px 14px;background:var(--soft)}
.tag{display:grid;grid-template-columns:minmax(84px,150px) 1fr 96px 96px 48px;gap:10px;align-items:center;
font-size:.87rem;line-height:1.3;padding:2px 0}
.tag:hover{background:var(--soft)}
.tag>span:first-child{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.head{color:var(--muted);font-size:.8rem}
.axis{position:relative;height:1.3em}
.axis span{position:absolute;transform:translateX(-50%)}
.axis span:nth-child(1){left:0;transform:none}.axis span:nth-child(2){left:28.57%}
.axis span:nth-child(3){left:100%;transform:translateX(-100%)}
.bar{position:relative;height:14px;background:linear-gradient(var(--muted),var(--muted)) 28.57% 0/1px 100% no-repeat,
var(--soft)}
.bar .muted{font-size:.75rem;line-height:14px;padding-left:4px}
.bar i{position:absolute}
.range{top:4px;bottom:4px;background:var(--range);border-radius:3px}
.point{top:3px;width:8px;height:8px;margin-left:-4px;border-radius:50%;background:var(--accent)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:14px 12px;margin-top:12px}
figure{margin:0}
figcaption{font-size:.8rem;line-height:1.3;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--muted);font-size:11px}
.plot{max-width:520px;margin:8px 0}
.box{fill:var(--soft);stroke:var(--line)}
.grid{stroke:var(--line)}
.base{stroke:var(--muted);stroke-dasharray:3 3}
.curve{fill:none;stroke:var(--accent);stroke-width:1.6;stroke-linejoin:round}
.dot{fill:var(--accent)}
.speck{fill:var(--accent);fill-opacity:.35}
small{display:block;color:var(--muted);font-size:.76rem;font-weight:400;white-space:nowrap}
.side{display:grid;grid-template-columns:minmax(0,1fr);gap:0 40px}
.side>div{min-width:0}
.panel text{fill:var(--ink);font-weight:600;font-size:12px}
.pair{display:grid;grid-template-columns:1fr;gap:0 40px}
.pair section{min-width:0}
@media (min-width:900px){.pair{grid-template-columns:1fr 1fr}.side{grid-template-columns:repeat(2,minmax(0,1fr))}}
@media (max-width:520px){h1{font-size:1.2rem}small{font-size:.7rem}td:first-child{white-space:normal}
.tag{grid-template-columns:1fr 88px 88px 40px;gap:2px 6px;padding:4px 0}.tag .bar,.tag .axis{grid-area:2/1/3/-1}
.head{font-size:.72rem}th,td{padding-right:10px}}
@media print{main{max-width:none}}
"""
