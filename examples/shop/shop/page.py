"""The shop's one page. No outside assets."""

from html import escape

PRODUCTS = [
    {"id": "rope", "name": "Mooring rope", "about": "12 m, spliced by hand", "price": 3400},
    {"id": "lamp", "name": "Storm lamp", "about": "Brass, burns 20 hours", "price": 5900},
    {"id": "compass", "name": "Compass", "about": "Points home", "price": 8200},
    {"id": "chart", "name": "Sea chart", "about": "All known harbours", "price": 2600},
    {"id": "tea", "name": "Galley tea", "about": "Strong, 250 g", "price": 900},
    {"id": "bell", "name": "Ship's bell", "about": "Heard for a mile", "price": 12500},
]
"""Prices in cents."""

LOOKS = {
    "harbour": ("#0b3954", "#087e8b", "#f4f8fa"),
    "sunset": ("#6a1b3d", "#c8442b", "#fdf5ef"),
}

_STYLE = """
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:#1c2b33;background:var(--paper)}
header{background:linear-gradient(120deg,var(--deep),var(--bright));color:#fff}
.wide{max-width:1120px;margin:0 auto;padding:24px 20px}
header .wide{padding-top:56px;padding-bottom:64px}
h1{margin:0;font-size:clamp(2rem,6vw,3.5rem);line-height:1.1}
header p{margin:12px 0 0;font-size:1.125rem;max-width:34em}
.badge{display:inline-block;margin-bottom:20px;padding:4px 12px;border:1px solid #ffffff99;border-radius:99px;
font-size:.875rem}
ul{list-style:none;margin:-40px 0 0;padding:0;display:grid;gap:16px;
grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))}
li{background:#fff;border-radius:12px;padding:20px;box-shadow:0 1px 3px #0002,0 8px 24px #0001;
display:grid;grid-template-columns:auto 1fr auto;gap:4px 16px;align-items:center}
.icon{grid-row:span 2;width:44px;height:44px;border-radius:50%;display:grid;place-items:center;
font-weight:700;color:#fff;background:linear-gradient(135deg,var(--deep),var(--bright))}
h2{margin:0;font-size:1.0625rem}
li p{margin:0;color:#51636d;font-size:.9375rem}
.price{font-weight:600;grid-row:1/3;grid-column:3}
footer{color:#51636d;font-size:.875rem}
"""


def render(version: str, look: str, release: str) -> bytes:
    """The page as it goes over the wire; it only changes with the release."""
    deep, bright, paper = LOOKS[look]
    items = "".join(
        f'<li><span class="icon" aria-hidden="true">{escape(str(p["name"])[0])}</span><h2>{escape(str(p["name"]))}</h2>'
        f"<p>{escape(str(p['about']))}</p>"
        f'<span class="price">€ {int(str(p["price"])) / 100:.2f}</span></li>'
        for p in PRODUCTS
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Harbour shop</title>
<link rel="icon" href="data:,">
<style>:root{{--deep:{deep};--bright:{bright};--paper:{paper}}}{_STYLE}</style>
</head>
<body>
<header><div class="wide">
<span class="badge">release {escape(release)} · version {escape(version)}</span>
<h1>Harbour shop</h1>
<p>Good things for people who ship. Everything here was packed this morning.</p>
</div></header>
<main class="wide"><ul>{items}</ul></main>
<footer><div class="wide">An example app of Homeport. Nothing is for sale.</div></footer>
</body>
</html>
""".encode()
