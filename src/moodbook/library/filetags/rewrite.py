"""One file gets other fields: a copy is made beside it, changed, checked, and put in its place.

The file itself is never opened for writing. A crash at any moment leaves the old file or the new one, and at most a
copy whose name the journal knows.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from moodbook import audio
from moodbook.errors import FileChangedError, TagError
from moodbook.files import sync_folder
from moodbook.library.filetags.exchange import exchange
from moodbook.library.filetags.fields import Fields
from moodbook.library.filetags.formats import tag_format, typed_errors
from moodbook.library.filetags.hearing import Listener
from moodbook.library.filetags.wayback import WayBack, find_way_back

COPY_PREFIX, COPY_SUFFIX = ".moodbook-", ".part"
"""How the name of a copy begins and ends; between them stand 12 random digits."""

_CHANGED_MEANWHILE = "it was changed while its copy was made. Try again."
_NOT_ITS_OWNER = "it belongs to another user or group, and would not any more. Run as them."
_ANYBODY_MAY_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class FileState:
    """What tells whether a file is still the one that was looked at.

    Attributes:
        size: In bytes.
        mtime_ns: Time of the last change, nanoseconds since 1970.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Take it from what the system says."""
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Rewrite:
    """What shall be done to one file.

    Attributes:
        path: The file, or a link to it.
        state: As it was when this was decided.
        payload: Hash of its audio, see `moodbook.audio.payload_hash`.
        before: The fields as they were.
        after: The fields as they shall be.
        way_back: How the file becomes what it was before it got the fields that it has, to the byte; None where that is
            not meant or not known.
    """

    path: Path
    state: FileState
    payload: str
    before: Fields
    after: Fields
    way_back: WayBack | None = None


def read_state(path: Path) -> FileState:
    """Look at a file; through a link, at what it points to.

    Raises:
        TagError: It cannot be looked at.
    """
    with typed_errors(path, "looking at the file"):
        return FileState.of(path.stat())


def read_fields(path: Path) -> Fields:
    """Read the fields of a file.

    Raises:
        AudioError: It cannot be opened or is no audio.
        TagError: Its tags are damaged, or of a kind that is not written.
    """
    with typed_errors(path, "reading the tags"):
        _, tags = tag_format(path)
        return tags.read(path)


def check_may_be_written(path: Path) -> None:
    """Refuse a file that shall not or cannot be replaced.

    Raises:
        TagError: It is read-only, has several names, or belongs to somebody else.
    """
    with typed_errors(path, "looking at the file"):
        target = _target(path)
        status = target.stat()
        if not stat.S_ISREG(status.st_mode):
            raise TagError(path, "it is no regular file.")
        # The superuser may write anything: that somebody took the right away is still meant.
        if not status.st_mode & _ANYBODY_MAY_WRITE or not os.access(target, os.W_OK):
            raise TagError(path, "it is read-only. Make it writable first.")
        if status.st_nlink > 1:
            raise TagError(
                path,
                f"it has {status.st_nlink} names (hard links), and only this one would get the tags while the others "
                "keep the old file. Tag a copy of its own.",
            )
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise TagError(path, "its folder is read-only, and the new file is made in it. Make it writable first.")
        if not _keeps_its_owner(status, target.parent):
            raise TagError(path, _NOT_ITS_OWNER)


def _keeps_its_owner(status: os.stat_result, folder: Path) -> bool:
    """Whether a new file in a folder can be given owner and group of a file there; True where only writing tells."""
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        return True
    if status.st_uid == os.geteuid() and status.st_gid in {os.getegid(), *os.getgroups()}:
        return True
    if not hasattr(os, "O_TMPFILE"):
        # A new file gets the group of its folder there, or where the folder says so.
        return status.st_uid == os.geteuid() and status.st_gid == folder.stat().st_gid
    # Disks without owners, and folders that give their group, show themselves in a file that never has a name.
    try:
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError:
        return True  # Not every disk has such files.
    try:
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (status.st_uid, status.st_gid):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    return True


def check_is_as_planned(task: Rewrite) -> os.stat_result:
    """Refuse a file that cannot be replaced, or is no longer the one that was looked at; else give its status.

    Raises:
        FileChangedError: It is no longer the file that was looked at.
        AudioError: It cannot be read.
        TagError: It cannot be written.
    """
    check_may_be_written(task.path)
    with typed_errors(task.path, "looking at the file"):
        status = _target(task.path).stat()
        if FileState.of(status) != task.state or read_fields(task.path) != task.before:
            raise FileChangedError(task.path, "it has been changed since it was looked at. Look at it again.")
    return status


def new_copy_name(path: Path) -> Path:
    """Choose the name of the copy: in the folder of the file itself, so that it can take its place."""
    return _target(path).with_name(f"{COPY_PREFIX}{secrets.token_hex(6)}{COPY_SUFFIX}")


def is_copy_name(path: Path) -> bool:
    """Whether a name is one of those that `new_copy_name` gives."""
    digits = path.name.removeprefix(COPY_PREFIX).removesuffix(COPY_SUFFIX)
    return (
        path.name == f"{COPY_PREFIX}{digits}{COPY_SUFFIX}"
        and len(digits) == 12
        and set(digits) <= set("0123456789abcdef")
    )


def rewrite(
    task: Rewrite,
    copy: Path,
    listener: Listener,
    *,
    touch: bool = False,
    keep: Callable[[WayBack], None] | None = None,
) -> FileState:
    """Give a file its new fields, or leave it as it is.

    Args:
        task: What shall be done.
        copy: Where the copy is made, from `new_copy_name`.
        listener: Hears whether file and copy sound alike.
        touch: Let the file's time of change be now; otherwise it stays what it was.
        keep: Told, before the copy takes the file's place, how it becomes the old file again.

    Returns:
        The state of the new file.

    Raises:
        FileChangedError: It is no longer the file that was looked at.
        AudioError: It cannot be read.
        TagError: It cannot be written, or something else in it would have changed.
        WorkerError: The listener's worker cannot start.
    """
    path = task.path
    status = check_is_as_planned(task)
    with typed_errors(path, "writing"):
        target = _target(path)
        made: os.stat_result | None = None
        try:
            _copy(target, copy, status.st_size)
            _, tags = tag_format(target)
            strange = [name for name in task.after if not tags.owns(name)]
            if strange:
                raise TagError(path, f"{strange[0]!r} is no field for a mood in this kind of file. Plan it again.")
            if task.way_back is not None and task.way_back.fits(copy):
                task.way_back.restore(target, copy)
            else:
                tags.write(copy, task.after)
            _check(target, copy, task, listener)
            way_back = None if keep is None else find_way_back(target, copy)
            _take_over(status, target, copy, touch)
            with copy.open("r+b") as file:  # Windows syncs only what may be written.
                os.fsync(file.fileno())
            if keep is not None and way_back is not None:
                keep(way_back)
            made = copy.stat()
            # The time of change of the file's record tells of writers who set the other one back.
            if (now := target.stat()).st_ctime_ns != status.st_ctime_ns or not _is_same(now, status):
                raise FileChangedError(path, _CHANGED_MEANWHILE)
            _put_in_place(copy, target, status, path)
        except BaseException:
            with suppress(FileNotFoundError):
                if made is None or copy.stat().st_ino == made.st_ino:  # Else it is the old file, exchanged.
                    copy.unlink()
            raise
    with typed_errors(path, "making its new name safe against a power cut; the new tags are in the file"):
        sync_folder(target.parent)
    return FileState.of(made)


def _is_same(now: os.stat_result, then: os.stat_result) -> bool:
    return (FileState.of(now), now.st_ino) == (FileState.of(then), then.st_ino)


def _put_in_place(copy: Path, target: Path, status: os.stat_result, path: Path) -> None:
    """Give the copy the file's name; where somebody wrote the file in the last moment, theirs keeps it."""
    if not exchange(copy, target):
        copy.replace(target)
        return
    try:
        if not _is_same(copy.stat(), status):  # What had the name until now.
            raise FileChangedError(path, _CHANGED_MEANWHILE)
        copy.unlink()
    except BaseException:
        with suppress(FileNotFoundError):  # It was removed, and only then something else went wrong.
            exchange(copy, target)
        raise


def _target(path: Path) -> Path:
    """Follow links: what they point to is written, and they go on pointing to it."""
    return Path(os.path.realpath(path))


def _copy(target: Path, copy: Path, size: int) -> None:
    # Nobody else reads it before it has the rights of the original.
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as out, target.open("rb") as source:
        shutil.copyfileobj(source, out, 1 << 20)
        if out.tell() != size:
            raise FileChangedError(target, "it was changed while it was copied. Try again.")


def _check(target: Path, copy: Path, task: Rewrite, listener: Listener) -> None:
    """Compare the copy with the original: the same music, the same everything else, and the new fields."""
    path = task.path
    if audio.payload_hash(copy) != task.payload:
        raise TagError(path, "its audio is not what it was, or would not have stayed so. Nothing was written.")
    _, tags = tag_format(copy)
    if tags.read(copy) != task.after:
        raise TagError(path, "the new tags cannot be read back as they were written. Nothing was written.")
    before, after = tags.others(target), tags.others(copy)
    if before != after:
        names = sorted({name for name, _ in [*(before - after), *(after - before)]})
        raise TagError(
            path,
            f"something else in it would have changed ({', '.join(names[:5])}). Nothing was written. Save its tags "
            "once with a tag editor, then try again.",
        )
    if objection := listener.objection(target, copy):
        raise TagError(path, f"{objection} Nothing was written.")


def _take_over(status: os.stat_result, target: Path, copy: Path, touch: bool) -> None:
    """Give the copy owner, rights, extended attributes and times of the original."""
    if hasattr(os, "chown") and (copy.stat().st_uid, copy.stat().st_gid) != (status.st_uid, status.st_gid):
        try:
            os.chown(copy, status.st_uid, status.st_gid)
        except PermissionError as error:
            raise TagError(target, _NOT_ITS_OWNER) from error
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_IMODE(copy.stat().st_mode) != mode:  # Where all files have the same rights, none can be given.
        copy.chmod(mode)
    if hasattr(os, "listxattr"):
        _copy_attributes(target, copy, os.listxattr, os.getxattr, os.setxattr)
    if not touch:
        os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_attributes(
    target: Path,
    copy: Path,
    names: Callable[[Path], list[str]],
    get: Callable[[Path, str], bytes],
    put: Callable[[Path, str, bytes], None],
) -> None:
    try:
        found = names(target)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return
        raise
    for name in found:
        value = get(target, name)
        with suppress(OSError):
            if get(copy, name) == value:
                continue  # It came with the folder, as some access lists do.
        try:
            put(copy, name, value)
        except OSError as error:
            # Labels of the system's own (SELinux) are given by the system.
            if not name.startswith("security."):
                raise TagError(
                    target, f"its extended attribute {name!r} cannot be kept ({error.strerror}). Take it off first."
                ) from error
