"""``render(state, layout) -> text``: the whole of haproxy.cfg. Pure; the same state, the same text.

What the access log holds, to be told as it is in the docs: every request while the edge takes at
most :data:`LOG_ALL_UP_TO` requests a second. Beyond that, every answer of status 400 or above, every
answer that the edge gave itself, and one in :data:`LOG_ONE_IN` of the rest. HAProxy's counters are
exact always. Writing a line costs about as much as passing a small request on, so a log of everything
would take a quarter of what the edge can carry (measured on 2 cores: 50k requests a second, not 63k).
"""

import hashlib

from homeport.edge import commands, hold, modes, pages
from homeport.edge.commands import HOOKS, UNROUTED, Layout, endpoint, milliseconds
from homeport.edge.model import EdgeState, Server, Service

LOG_ALL_UP_TO = 1000
LOG_ONE_IN = 100
TUNNEL_SECONDS = 24 * 3600.0
RETRY_AFTER_SECONDS = 2
CLIENT_SECONDS = 60.0
"""How long a client may stall while it sends a body or takes an answer; waiting for one is no stall."""

BODY_SECONDS = 5.0
"""How long a request that a mode refuses may take to bring its body, or the first 16 kB of it; then it is
a 408. Refused before that, its connection would be closed on what is still on its way, and the client might
miss the answer (HAProxy reads on only since 3.0)."""

HOOKS_PREFIX = "/.homeport/"
HOOKS_AT_MOST = 20
HOOKS_SECONDS = 10
"""So many requests in so many seconds from one client; the next is a 429."""

_COMPRESSIBLE = (
    "text/html text/plain text/css text/xml text/javascript text/markdown text/csv application/javascript "
    "application/json application/problem+json application/ld+json application/manifest+json "
    "application/xml application/xhtml+xml application/rss+xml application/atom+xml application/wasm "
    "image/svg+xml"
)

_ACCESS_LINE = (
    '{"time":%Ts.%ms,"idle_ms":%Ti,"request_id":"%ID","client":"%ci",'
    '"host":"%[capture.req.hdr(0),host_only,lower,json(utf8s)]","method":"%HM",'
    '"path":"%[capture.req.uri,regsub(^[^/?]+://[^/?]*,),field(1,?),json(utf8s)]","status":%ST,"bytes":%B,'
    '"total_ms":%Ta,"connect_ms":%Tc,"response_ms":%Tr,'
    '"service":"%b","server":"%s","retries":"%rc","end":"%ts"}'
)
"""``time`` is when the connection came, or was through with the request before: ``idle_ms`` later this one came."""

_ERROR_LINE = '{"time":%Ts.%ms,"client":"%ci","error":"%[fc_err_str,json(utf8s)]"}'

_KEY = f"%[req.hdr(host),host_only,lower,rtrim(.),map_str({{hosts}},{commands.ANY_HOST})]%[path]/"
"""What is looked up among the routes, of a host that is not written just as a route has it."""

_CLIENT_HEADERS = r"^(x[-_]forwarded[-_].*|x[-_]real[-_]ip|x[-_]request[-_]id|forwarded)$"
"""Request headers that only the edge may set: underscores too, which WSGI reads as hyphens."""


def render(state: EdgeState, layout: Layout) -> str:
    """haproxy.cfg, sealed. Its description carries :func:`digest`."""
    sections = [_settings(state, layout, digest(state, layout))]
    sections += [_backend(service, layout) for service in _services(state)]
    return commands.seal("\n".join(sections))


def digest(state: EdgeState, layout: Layout) -> str:
    """Names all that needs a reload to change: everything but servers."""
    bare = [_settings(state, layout, "")]
    bare += [_backend(service, layout, with_servers=False) for service in _services(state)]
    return hashlib.sha256("\n".join(bare).encode()).hexdigest()[:20]


def _services(state: EdgeState) -> list[Service]:
    return sorted(state.services, key=lambda service: service.name)


def _settings(state: EdgeState, layout: Layout, mark: str) -> str:
    return "\n".join(
        (
            "# Written by Homeport from its own state; changes made here are undone.",
            *_global(state, layout, mark),
            "",
            *_defaults(layout),
            "",
            *_frontend(state, layout),
            "",
            f"backend {UNROUTED} from common",
            "    http-request return status 404 default-errorfiles",
            "",
            *_hooks(state),
        )
    )


def _global(state: EdgeState, layout: Layout, mark: str) -> list[str]:
    lines = [
        "global",
        f"    description homeport {mark}",
        f"    stats socket {layout.admin_socket} mode 600 level admin expose-fd listeners",
        "    stats timeout 30s",
        f"    hard-stop-after {milliseconds(state.drain_limit)}",
        "    fd-hard-limit 100000",
        "    ssl-default-bind-options ssl-min-ver TLSv1.2",
        "    tune.ssl.default-dh-param 2048",
        ".if feature(LUA)",
        f"    lua-load-per-thread {layout.own_page_program}",
        f"    lua-load-per-thread {layout.hold_program}",
        ".endif",
    ]
    if layout.user:
        lines += [f"    user {layout.user}", f"    group {layout.group}"]
    return [line for line in lines if line]


def _defaults(layout: Layout) -> list[str]:
    return [
        "defaults common",
        "    mode http",
        "    timeout connect 3s",
        "    timeout queue 10s",
        f"    timeout client {milliseconds(CLIENT_SECONDS)}",
        "    timeout client-fin 30s",
        "    timeout http-request 30s",
        "    timeout http-keep-alive 75s",
        "    timeout server 60s",
        f"    timeout tunnel {milliseconds(TUNNEL_SECONDS)}",
        "    option idle-close-on-response",
        "    option dontlognull",
        *(f"    errorfile {page.status} {layout.page(page.status)}" for page in pages.STATIC),
        *(_error_page(page, layout) for page in pages.BY_ACCEPT),
        "",
        "defaults service from common",
        "    balance roundrobin",
        "    retries 3",
        "    option redispatch 1",
        "    # A request that may be sent again is, when an instance died on it; see disable-l7-retry.",
        "    retry-on conn-failure empty-response",
        "    option httpchk",
        f"    http-check send meth GET uri-lf %[srv_name,map({layout.health},/)] ver HTTP/1.1"
        " hdr Host localhost hdr User-Agent homeport-health",
        "    http-check expect status 200-299",
        "    compression algo gzip",
        f"    compression type {_COMPRESSIBLE}",
        *_modes(layout),
    ]


def _modes(layout: Layout) -> list[str]:
    """A service's mode, told of in :mod:`homeport.edge.modes`: one look-up for a request that meets none.

    ``allow`` ends a request's rules, so a backend can have none after these.
    """
    texts = f"map_str({layout.mode_texts})"
    read_only = f"{{ var(txn.mode) -m end /{modes.READ_ONLY} }}"
    passes = f"{{ src,map_ip({layout.mode_networks}),concat(/,txn.mode),{texts} -m found }}"
    return [
        f"    http-request allow unless {{ be_name,map_str({layout.modes}),set-var(txn.mode) -m found }}",
        *hold.rules(layout, f"{{ var(txn.mode) -m end /{modes.MAINTENANCE} }}", passes),
        f"    http-request allow if {{ var(txn.mode) -m end /{modes.ASLEEP} }}",
        f"    http-request allow if {passes}",
        f"    http-request allow if {read_only} {{ method {' '.join(modes.SAFE_METHODS)} }}",
        f"    http-request set-var-fmt(txn.at) %[var(txn.mode)]%[path]/ if {read_only}",
        f"    http-request allow if {read_only} {{ var(txn.at),map_beg({layout.mode_exempt}) -m found }}"
        f" !{{ path -m reg -i '{modes.UNCLEAR}' }}",
        f"    http-request set-var(txn.format) str(.json) if {read_only} !{{ req.hdr(accept) -m sub text/html }}",
        f"    http-request wait-for-body time {milliseconds(BODY_SECONDS)} unless {{ req.hdr(expect) -m found }}",
        f"    http-request set-var(txn.retry) var(txn.mode),concat(/retry),{texts}",
        ".if feature(LUA)",
        f"    http-request lua.{pages.OWN_PAGE_ACTION} if !{{ var(txn.format) -m found }}"
        f" {{ var(txn.mode),concat(/page),{texts},set-var(txn.page) -m found }}",
        ".endif",
        "    http-request return status 503 content-type homeport/page"
        f" lf-string %[var(txn.mode),concat(,txn.format),{texts},b64dec]%[unique-id]"
        f"%[str(end),concat(,txn.format),map({layout.pages})]"
        " hdr Cache-Control no-store hdr Retry-After %[var(txn.retry)]",
    ]


def _error_page(page: pages.Page, layout: Layout) -> str:
    def text(key: str) -> str:
        return f"%[str({key}),concat(,txn.format),map({layout.pages})]"

    retry = f" hdr Retry-After {RETRY_AFTER_SECONDS}" if page is pages.UNAVAILABLE else ""
    return (
        f"    http-error status {page.status} content-type homeport/page"
        f" lf-string {text(str(page.status))}%[unique-id]{text('end')}"
        f" hdr Cache-Control no-store{retry}"
    )


def _frontend(state: EdgeState, layout: Layout) -> list[str]:
    binds = [f"    bind {endpoint(state.http.address, state.http.port)}"]
    proto = "http"
    if state.https is not None:
        proto = "%[ssl_fc,iif(https,http)]"
        binds.append(
            f"    bind {endpoint(state.https.address, state.https.port)} ssl crt {layout.certs}/ alpn h2,http/1.1"
        )
    return [
        "frontend edge from common",
        *binds,
        "    option forwardfor",
        "    # Requests go out as errors do, so that HAProxy's own notices stay out of the log of requests.",
        "    log stdout len 8192 format raw local0 err",
        "    option log-separate-errors",
        f"    log-format '{_ACCESS_LINE}'",
        f"    error-log-format '{_ERROR_LINE}'",
        "    unique-id-format %[uuid()]",
        "    unique-id-header X-Request-ID",
        "    capture request header Host len 253",
        "    http-request set-log-level err",
        f"    http-request set-var-fmt(txn.key) {_KEY.format(hosts=layout.hosts)}"
        f" unless {{ req.hdr(host),map_str({layout.hosts}) -m found }}",
        "    http-request set-var(txn.format) str(.json)"
        " if { req.hdr(accept) -m sub json } !{ req.hdr(accept) -m sub text/html }",
        f"    http-request del-header {_CLIENT_HEADERS} -m reg",
        f"    http-request add-header X-Forwarded-Proto {proto}",
        "    http-request add-header X-Forwarded-Host %[req.hdr(host)]",
        "    # Only what has no body and changes nothing is ever sent to an app a second time.",
        "    http-request disable-l7-retry unless { method GET HEAD OPTIONS } { req.body_size 0 }",
        "    http-response del-header Server",
        f"    http-response set-log-level silent if {{ fe_req_rate gt {LOG_ALL_UP_TO} }}"
        f" {{ status lt 400 }} {{ rand({LOG_ONE_IN}) gt 0 }}",
        "    http-after-response allow if { status lt 400 }",
        "    http-after-response set-header X-Request-ID %[unique-id] if { status ge 500 }",
        "    http-after-response set-header Content-Type application/problem+json"
        " if { status ge 400 } { res.hdr(content-type) homeport/page } { var(txn.format) -m found }",
        "    http-after-response set-header Content-Type 'text/html; charset=utf-8'"
        " if { status ge 400 } { res.hdr(content-type) homeport/page }",
        *([f"    use_backend {HOOKS} if {{ path_beg {HOOKS_PREFIX} }}"] if state.hooks else []),
        f"    use_backend %[base,concat(/),map_beg({layout.routes})] if !{{ var(txn.key) -m found }}",
        f"    use_backend %[var(txn.key),map_beg({layout.routes})]",
        f"    default_backend {UNROUTED}",
    ]


def _backend(service: Service, layout: Layout, *, with_servers: bool = True) -> str:
    servers = sorted(service.servers, key=lambda server: server.name) if with_servers else []
    return "\n".join(
        (
            f"backend {service.name} from service",
            f"    timeout server {milliseconds(service.response_timeout)}",
            f"    timeout check {milliseconds(service.check_timeout)}",
            *(_stick(service, layout) if service.stick else []),
            *([] if with_servers else [f"    # servers: {commands.server_options(service, _ANY)}"]),
            *(f"    server {s.name} {commands.server_options(service, s)}" for s in servers),
            "",
        )
    )


def _stick(service: Service, layout: Layout) -> list[str]:
    """A visitor's cookie names the server that answered, and is set again when another one did.

    Not on answers that caches between share out: all of their visitors would be one.
    """
    cookie, pins = commands.cookie(service.name), f"map_str({layout.pins})"
    return [
        f"    use-server %[var(txn.follow)] if {{ req.cook({cookie}),set-var(txn.side),{pins},set-var(txn.follow)"
        " -m found }",
        f'    http-response add-header Set-Cookie "{cookie}=%[srv_name]; Path=/; HttpOnly; SameSite=Lax'
        "%[ssl_fc,iif('; Secure',)]\""
        f" if {{ srv_name,{pins} -m found }} !{{ srv_name,strcmp(txn.side) eq 0 }}"
        " !{ res.hdr(cache-control) -m sub -i public s-maxage }",
    ]


def _hooks(state: EdgeState) -> list[str]:
    """A request is passed on once, whatever it is: what it tells may have been done."""
    if not state.hooks:
        return []
    return [
        f"backend {HOOKS} from common",
        "    timeout server 30s",
        "    # An IPv6 client has a network of 2^64 addresses.",
        f"    stick-table type ipv6 size 20k expire {HOOKS_SECONDS}s store http_req_rate({HOOKS_SECONDS}s)",
        "    http-request track-sc0 src,ipmask(32,64)",
        f'    http-request return status 429 content-type text/plain string "Too many requests."'
        f" hdr Retry-After {HOOKS_SECONDS} if {{ sc_http_req_rate(0) gt {HOOKS_AT_MOST} }}",
        f"    http-request wait-for-body time {milliseconds(BODY_SECONDS)} unless {{ req.hdr(expect) -m found }}",
        f"    server {HOOKS} unix@{state.hooks}",
        "",
    ]


_ANY = Server("any", 1, 1)
