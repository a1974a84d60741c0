"""Ray Serve: a configuration with gateway replicas, and models by Ray Serve LLM."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dreamr._option_specs import BadOption
from dreamr.serving.deploy.gateway_file import copied_files, dump, gateway_values
from dreamr.serving.deploy.plan import DEVICE_VARIABLES, EngineService, Plan, secret_variable
from dreamr.serving.options import ServeOptions

IMPORT_PATH = "dreamr.serving.deploy.ray_app:build"
DEPLOYMENT = "Gateway"
_LLM = "ray.serve.llm:build_openai_app"
_SPARE = 64  # requests beside those that run and wait: health, metrics, refusals
_TARGET_LOAD = 0.6  # of the requests that a replica runs at the same time, before another starts
_MOST_REPLICAS = 8


def deployment_options(options: ServeOptions) -> dict[str, Any]:
    """Return the options of the gateway's deployment.

    Ray Serve refuses requests without `Retry-After` and cuts runs that outlast a stop. With these
    options it does neither: the gateway refuses and ends them first.

    Args:
        options: Options of the gateway.
    """
    return {
        "max_ongoing_requests": options.max_running + options.max_waiting + _SPARE,
        "max_queued_requests": -1,
        "graceful_shutdown_timeout_s": options.deadline + options.grace,
        "graceful_shutdown_wait_loop_s": 1.0,
        "health_check_period_s": 10.0,
        "health_check_timeout_s": 30.0,
        "autoscaling_config": {
            "min_replicas": 1,
            "max_replicas": _MOST_REPLICAS,
            "target_ongoing_requests": max(1, round(options.max_running * _TARGET_LOAD)),
            "upscale_delay_s": 10.0,
            "downscale_delay_s": 300.0,
        },
    }


def files(found: Plan) -> dict[str, str]:
    """Return the text of each file by its path.

    Raises:
        BadOption: If an engine is not vLLM, has a command of its own, or short flags, or a model
            has several urls.
    """
    for router in found.routers:
        raise BadOption(
            f"model {router.model.name}: Ray Serve starts no router in front of several urls: "
            "start vllm-router, and give the model its url"
        )
    gateway = found.pair_file.gateway
    port = gateway.port
    values = gateway_values(found, lambda one: f"127.0.0.1:{port}/{one.name}", port)
    values["gateway"].pop("host")
    values["gateway"].pop("port")
    if gateway.keys_file is not None:
        values["gateway"]["keys_file"] = gateway.keys_file
    for engine in found.engines:  # Ray Serve LLM has no keys
        values["models"][engine.model.name].pop("api_key", None)
    for name, path in copied_files(found.pair_file).items():
        _locate(values, name, str(path))
    application = {
        "name": "dreamr",
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": {"pair": values},
        "deployments": [{"name": DEPLOYMENT, **deployment_options(gateway)}],
    }
    config = {
        "proxy_location": "EveryNode",
        # Longer than any run: a request that Ray Serve times out is cut without an error.
        "http_options": {
            "host": gateway.host,
            "port": port,
            "request_timeout_s": gateway.deadline + gateway.grace,
        },
        "applications": [*(_llm(found, engine) for engine in found.engines), application],
    }
    return {"serve.yaml": dump(config, "Written by dreamr deploy ray: serve deploy serve.yaml")}


def _locate(values: dict[str, Any], name: str, path: str) -> None:
    """Write paths of files in full: replicas start in folders of their own."""
    for pair in values["pairs"].values():
        for option, value in pair.items():
            if value == name:
                pair[option] = path


def unset_variables(found: Plan, engine: EngineService) -> list[str]:
    """Return the variables of an engine whose values nodes of the cluster must have.

    Ray Serve has no secrets, and does not read the variables of the machine that deploys.
    """
    named = engine.launch.env_variables
    return [name for name, variable in named.items() if not found.defaults.get(variable)]


def _llm(found: Plan, engine: EngineService) -> dict[str, Any]:
    """Return the application of a model."""
    launch = engine.launch
    if launch.engine != "vllm" or launch.command is not None:
        raise BadOption(
            f"model {engine.model.name}: Ray Serve starts the engine vllm only, without a command "
            "of its own: give the model a url"
        )
    given = {
        "revision": launch.revision,
        "dtype": launch.dtype,
        "max_model_len": launch.context,
        "gpu_memory_utilization": launch.memory,
        "tensor_parallel_size": engine.gpus if engine.gpus > 1 else None,
        "enable_prompt_tokens_details": True,
        **_flags(engine.model.name, launch.flags),
    }
    command = engine.command(launch.model)
    named, unset = launch.env_variables, unset_variables(found, engine)
    variables = {
        name: found.defaults[named[name]] if name in named else text
        for name, text in command.environment.items()
        if name not in (*DEVICE_VARIABLES, *unset)
        and (name in named or secret_variable(text) is None)  # without the key of the server
    }
    config: dict[str, Any] = {
        "model_loading_config": {
            "model_id": engine.model.model or launch.model,
            "model_source": launch.model,
        },
        "engine_kwargs": {name: value for name, value in given.items() if value is not None},
        "deployment_config": {"num_replicas": engine.model.replicas},
    }
    if launch.devices == ():
        config["accelerator_config"] = {"kind": "cpu"}
    if variables:
        config["runtime_env"] = {"env_vars": variables}
    return {
        "name": engine.name,
        "route_prefix": f"/{engine.name}",
        "import_path": _LLM,
        "args": {"llm_configs": [config]},
    }


def _flags(model: str, flags: tuple[str, ...]) -> Mapping[str, Any]:
    """Return vLLM's flags as arguments of its engine; a flag with several values has a list.

    Raises:
        BadOption: If there are other arguments than long flags with their values.
    """
    values: dict[str, list[Any]] = {}
    name = None
    for flag in flags:
        is_number = re.fullmatch(r"-?[0-9.]+", flag) is not None
        if flag.startswith("--"):
            name, _, value = flag[2:].partition("=")
            name = name.replace("-", "_")
            values[name] = [_value(value)] if value else []
        elif name is None or (flag.startswith("-") and not is_number):
            raise BadOption(
                f"model {model}: Ray Serve takes long flags only: write {flag} as --NAME"
            )
        else:
            values[name].append(_value(flag))
    return dict(_argument(name, found) for name, found in values.items())


def _argument(name: str, values: list[Any]) -> tuple[str, Any]:
    """Return an argument of the engine; a flag `no_x` without a value means that x is off."""
    if not values:
        return (name[3:], False) if name.startswith("no_") else (name, True)
    return name, values[0] if len(values) == 1 else values


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
