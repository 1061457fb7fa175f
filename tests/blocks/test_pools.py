"""Facts about work pools: what the data say, what a run could override, what stays."""

from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool as ServerPool
from prefect.exceptions import ObjectNotFound
from prefect.utilities.templating import apply_values
from prefect.workers.process import ProcessJobConfiguration

from blocks.pools import WorkPool, ensure_pool, read_pools, worker_name
from sensequant.errors import ConfigError


class Server:
    """Keeps pools as the server does, in the four calls that are made of it."""

    def __init__(self) -> None:
        self.pools: dict[str, ServerPool] = {}
        self.n_writes = 0

    def read_work_pool(self, name: str) -> ServerPool:
        """Return a pool, or raise as the client does."""
        if name not in self.pools:
            raise ObjectNotFound(http_exc=Exception(name))
        return self.pools[name]

    def create_work_pool(self, pool: WorkPoolCreate) -> None:
        """Keep a new pool."""
        self.n_writes += 1
        self.pools[pool.name] = ServerPool.model_construct(**pool.model_dump())

    def update_work_pool(self, name: str, update: WorkPoolUpdate) -> None:
        """Change what the update says, and nothing else."""
        self.n_writes += 1
        self.pools[name] = self.pools[name].model_copy(update=update.model_dump(exclude_unset=True))


@pytest.mark.parametrize("n_gpus", [0, 1, 3])
def test_each_gpu_has_a_pool_beside_the_default_one(n_gpus: int) -> None:
    """The number is configuration; without GPUs there is one pool."""
    names = [pool.name for pool in read_pools(n_gpus)]

    assert names == ["default", *(f"gpu-{device}" for device in range(n_gpus))]


def configuration(pool: WorkPool, values: dict[str, Any]) -> ProcessJobConfiguration:
    """Return what a worker makes of a template and a run's variables."""
    filled = apply_values(pool.base_job_template["job_configuration"], values)
    return ProcessJobConfiguration.model_validate(filled)


@pytest.mark.parametrize("device", [0, 1])
def test_a_run_cannot_move_its_pin(device: int) -> None:
    """Variables of a deployment or run reach the default pool's processes, not those of a GPU."""
    default, *gpus = read_pools(2)
    values = {"env": {"CUDA_VISIBLE_DEVICES": "7", "OTHER": "1"}, "command": "true"}

    pinned = configuration(gpus[device], values)
    free = configuration(default, values)

    assert pinned.env == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(device)}
    assert free.env == values["env"]
    assert pinned.command == free.command == "python -m prefect.engine"


def test_a_gpu_pool_refuses_what_it_would_ignore() -> None:
    """Its schema names no environment, and the server refuses variables that it does not name."""
    _, gpu = read_pools(1)
    variables = gpu.base_job_template["variables"]

    assert variables["additionalProperties"] is False
    assert set(variables["properties"]) == {"name", "labels", "stream_output", "working_dir"}
    assert gpu.concurrency_limit == 1


def test_pools_are_made_once_and_set_right_where_they_differ() -> None:
    """A limit that was lost comes back, a paused pool stays paused, nothing is written twice."""
    server: Any = Server()
    pools = read_pools(1)

    assert [ensure_pool(server, pool) for pool in pools] == ["made", "made"]
    assert [ensure_pool(server, pool) for pool in pools] == ["unchanged", "unchanged"]
    assert server.n_writes == 2
    lost = {"concurrency_limit": None, "is_paused": True}
    server.pools["gpu-0"] = server.pools["gpu-0"].model_copy(update=lost)
    assert [ensure_pool(server, pool) for pool in pools] == ["unchanged", "changed"]
    assert server.pools["gpu-0"].concurrency_limit == 1
    assert server.pools["gpu-0"].is_paused


def test_pool_of_another_type_is_refused_with_what_to_do() -> None:
    """A type cannot be changed, and its runs would not be processes here."""
    server: Any = Server()
    (pool,) = read_pools(0)
    server.create_work_pool(WorkPoolCreate(name="default", type="docker"))

    with pytest.raises(ConfigError, match="work-pool delete default") as caught:
        ensure_pool(server, pool)

    assert caught.value.found == "docker"


@pytest.mark.parametrize("text", ["", "pools: 3", "pools: [{name: a}]", "pools: ["])
def test_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """The error says which file, and what it should hold."""
    path = tmp_path / "pools.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"pools\.yaml"):
        read_pools(1, path)


def test_workers_of_two_machines_have_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of the same name would take the other's place on the server."""
    names: set[str] = set()
    for host in ("one", "two"):
        monkeypatch.setattr("blocks.pools.socket.gethostname", lambda host=host: host)
        names.add(worker_name("gpu-0"))

    assert names == {"one-gpu-0", "two-gpu-0"}
