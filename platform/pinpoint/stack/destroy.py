"""Removes a home permanently: its processes, its data, and its files outside the folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pinpoint.errors import NotFoundError, StackError
from pinpoint.homes import is_home
from pinpoint.settings import Settings
from pinpoint.stack.disk_usage import ComponentSize, measure_home
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.postgres import PostgresServer
from pinpoint.stack.state import read_state
from pinpoint.stack.supervisor import lifecycle
from pinpoint.stack.supervisor.programs import list_external_services


@dataclass(frozen=True, slots=True)
class DestroyPlan:
    """Folders that `destroy` removes and keeps.

    Args:
        home: The home.
        components: Folders to remove, with their sizes.
        kept: Folders to keep.
        external: External services; they hold data of this stack and are not changed.
    """

    home: str
    components: tuple[ComponentSize, ...]
    kept: tuple[str, ...]
    external: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Total size of the folders to remove, bytes."""
        return sum(component.bytes for component in self.components)


def plan_destroy(settings: Settings, *, keep_bundles: bool) -> DestroyPlan:
    """List the folders that `destroy_home` would remove; changes nothing.

    Args:
        settings: Settings of the home.
        keep_bundles: Keep the folder `bundles`.

    Raises:
        NotFoundError: The folder is not a Pinpoint home.
        StackError: The folder is the user's home directory or the root.
    """
    paths = StackPaths(settings.services.home)
    home = paths.home
    if not is_home(home):
        raise NotFoundError(
            f"{home} is not a Pinpoint home, so nothing was removed; name one with --home FOLDER"
        )
    if home.resolve() in (Path("/"), Path.home().resolve()):
        raise StackError(f"{home} holds more than a Pinpoint home; nothing was removed")
    own_bundles = paths.bundles_dir.is_dir() and any(paths.bundles_dir.iterdir())
    kept_folders = {paths.bundles_dir} if keep_bundles and own_bundles else set()
    foreign = set() if paths.owns_cluster() else {paths.cluster_dir}
    excluded, state = {str(path) for path in kept_folders | foreign}, read_state(paths)
    return DestroyPlan(
        home=str(home),
        components=tuple(
            component for component in measure_home(paths) if component.path not in excluded
        ),
        kept=tuple(str(path) for path in kept_folders),
        external=tuple(state.external if state else list_external_services(settings)),
    )


def destroy_home(settings: Settings, plan: DestroyPlan, on_message: Callable[[str], None]) -> None:
    """Stop the stack and remove the planned folders; safe to repeat after an interruption.

    Raises:
        StackError: A process could not be ended, or a folder could not be removed.
    """
    paths = StackPaths(settings.services.home)
    lifecycle.stop_stack(settings, on_message)
    on_message("removing the data")
    # The database's folder first: the home records its path.
    if paths.owns_cluster():
        PostgresServer(paths).erase()
    for folder in (paths.socket_dir, paths.postgres_socket_dir):
        shutil.rmtree(folder, ignore_errors=True)
    for entry in list(paths.home.iterdir()):
        if str(entry) not in plan.kept:
            _remove_path(entry)
    if not plan.kept:
        _remove_path(paths.home.resolve())
        if paths.home.is_symlink():
            _remove_path(paths.home)


def _remove_path(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise StackError(f"cannot remove {error.filename or path}: {error.strerror}") from error
