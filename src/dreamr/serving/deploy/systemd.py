"""systemd units: one for each server, router and gateway, and a target for all."""

from __future__ import annotations

from collections.abc import Iterable

from dreamr.serving.deploy.gateway_file import copied_texts, gateway_file
from dreamr.serving.deploy.plan import (
    STARTING_SECONDS,
    EngineService,
    Plan,
    RouterService,
    secret_lines,
    secret_variable,
    split,
)
from dreamr.serving.launch.ports import HOST
from dreamr.serving.launch.router import ROUTER_ENVIRONMENT

SECRETS = "secrets.env"
DREAMR = "/opt/dreamr/bin/dreamr"
_CURL = "/usr/bin/curl"
_CONFINED = (
    "DynamicUser=yes",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "CapabilityBoundingSet=",
)
_PATH = "/opt/dreamr/engines/bin:/usr/local/bin:/usr/bin:/bin"


def files(found: Plan) -> dict[str, str]:
    """Return the text of each file by its path.

    Raises:
        BadOption: If two services have the same name, or a file cannot be copied.
    """
    found = split(found)
    gateway = found.pair_file.gateway
    units = {_unit(found, engine.name): _engine(found, engine) for engine in found.engines}
    units |= {_unit(found, router.name): _router(found, router) for router in found.routers}
    units[_unit(found, "gateway")] = _gateway(found)
    written = dict(units)
    written[f"dreamr-{found.name}.target"] = _section(
        "Unit", [f"Description=dreamr: {found.name}", *(f"Wants={name}" for name in units)]
    ) + _section("Install", ["WantedBy=multi-user.target"])
    written["pair.yaml"] = gateway_file(
        found, lambda e: f"{HOST}:{e.port}", gateway.port, gateway.host
    )
    lines = [f"# Copy to {_folder(found)}/{SECRETS} with mode 0600, and fill in."]
    written[f"{SECRETS}.example"] = "\n".join([*lines, *secret_lines(found)]) + "\n"
    return written | copied_texts(found.pair_file)


def _engine(found: Plan, engine: EngineService) -> str:
    command = engine.command(engine.launch.model, HOST)
    after = ["network-online.target"]
    if engine.after is not None:
        after.append(_unit(found, engine.after))
    unit = [
        f"Description=dreamr: {engine.name} of {found.name}",
        f"After={' '.join(after)}",
        "Wants=network-online.target",
        f"PartOf=dreamr-{found.name}.target",
        "StartLimitIntervalSec=600",
        "StartLimitBurst=5",
    ]
    secret = {n: t for n, t in command.environment.items() if secret_variable(t)}
    plain = {n: t for n, t in command.environment.items() if n not in secret}
    used = {*map(secret_variable, (*secret.values(), *command.arguments))}
    defaults = {name: text for name, text in found.defaults.items() if name in used}
    service = [
        "Type=exec",
        # The file replaces defaults.
        *(f"Environment={_escaped(f'{name}={text}')}" for name, text in defaults.items()),
        f"EnvironmentFile=-{_folder(found)}/{SECRETS}",
        f"Environment=PATH={_PATH}",
        *(f"Environment={_escaped(f'{name}={text}')}" for name, text in plain.items()),
        f"ExecStart={_command(secret, command.arguments)}",
        # Started only when it answers, so that the next engine measures what memory is left.
        _answering(engine.port),
        f"TimeoutStartSec={STARTING_SECONDS}",
        "TimeoutStopSec=60",
        "Restart=on-failure",
        "RestartSec=10",
        "LimitNOFILE=65536",
        "LimitMEMLOCK=infinity",
        "OOMPolicy=stop",
        "DynamicUser=yes",
        f"CacheDirectory=dreamr-{found.name}-{engine.name}",
        f"Environment=HOME=/var/cache/dreamr-{found.name}-{engine.name}",
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
    ]
    return _section("Unit", unit) + _section("Service", service)


def _router(found: Plan, router: RouterService) -> str:
    servers = [_unit(found, server.name) for server in router.servers]
    unit = [
        f"Description=dreamr: {router.name} of {found.name}, router",
        f"After={' '.join(['network-online.target', *servers])}",
        f"Wants={' '.join(['network-online.target', *servers])}",
        f"PartOf=dreamr-{found.name}.target",
    ]
    command = router.command(HOST, lambda server: f"{HOST}:{server.port}")
    service = [
        "Type=exec",
        f"Environment=PATH={_PATH}",
        *(f"Environment={name}={text}" for name, text in ROUTER_ENVIRONMENT.items()),
        f"ExecStart={_command({}, command)}",
        _answering(router.port),
        f"TimeoutStartSec={STARTING_SECONDS}",
        "Restart=on-failure",
        "RestartSec=5",
        "LimitNOFILE=65536",
        *_CONFINED,
    ]
    return _section("Unit", unit) + _section("Service", service)


def _answering(port: int) -> str:
    """Return a setting with which a unit counts as started when it answers.

    It fails when the process of the unit has ended: systemd waits for it before it restarts one.
    """
    asked = f"{_CURL} -fsS -m 5 -o /dev/null http://{HOST}:{port}/health"
    lives = 'kill -0 "$$MAINPID" 2>/dev/null'
    return f"ExecStartPost=/bin/sh -c 'until {asked}; do {lives} || exit 1; sleep 2; done'"


def _gateway(found: Plan) -> str:
    engines = [_unit(found, one.name) for one in found.services]
    folder = _folder(found)
    unit = [
        f"Description=dreamr: gateway of {found.name}",
        f"After={' '.join(['network-online.target', *engines])}",
        f"Wants={' '.join(['network-online.target', *engines])}",
        f"PartOf=dreamr-{found.name}.target",
    ]
    keys = found.pair_file.gateway.keys_file
    service = [
        "Type=exec",
        f"EnvironmentFile=-{folder}/{SECRETS}",
        f"ExecStart={DREAMR} serve --pair {folder}/pair.yaml",
        "ExecReload=/bin/kill -HUP $MAINPID",
        f"TimeoutStopSec={found.stop_seconds}",
        "Restart=on-failure",
        "RestartSec=5",
        "LimitNOFILE=65536",
        "MemoryMax=4G",
        *_CONFINED,
    ]
    if keys is None:
        service.remove("ExecReload=/bin/kill -HUP $MAINPID")
    return _section("Unit", unit) + _section("Service", service)


def _command(secret: dict[str, str], arguments: Iterable[str]) -> str:
    """Return a command line; variables of engines that hold secrets are set by env(1)."""
    words = [_quoted(argument) for argument in arguments]
    if not secret:
        return " ".join(["/usr/bin/env", *words])
    given = [f'"{name}={text}"' for name, text in secret.items()]
    return " ".join(["/usr/bin/env", *given, *words])


def _quoted(word: str) -> str:
    """Return a word of a command as systemd reads it back; it replaces a whole variable."""
    return _escaped(word if secret_variable(word) else word.replace("$", "$$"))


def _escaped(word: str) -> str:
    """Return a word as systemd reads it back, in lines in which it replaces no variables."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    text = text.replace("\n", "\\n").replace("\r", "\\r")
    return f'"{text}"' if not word or any(c in word for c in " \"'\\;\t\n\r") else text


def _section(name: str, lines: list[str]) -> str:
    return "\n".join([f"[{name}]", *lines]) + "\n\n"


def _unit(found: Plan, name: str) -> str:
    return f"dreamr-{found.name}-{name}.service"


def _folder(found: Plan) -> str:
    return f"/etc/dreamr/{found.name}"
