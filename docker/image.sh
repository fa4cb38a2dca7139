#!/bin/sh
# The steps of the image. The Dockerfile calls the first two; `check` does all of them where there is no Docker, as far
# as the machine lets it: an unprivileged user, a root file system that is read-only, one folder that is not.
#
#   docker/image.sh wheel FOLDER               build the wheel into FOLDER
#   docker/image.sh install FOLDER VENV        install the wheel of FOLDER into the new environment VENV, as pinned
#   docker/image.sh check                      both, then a night against the stand-in workspace, run as the image would
#
# PYTHON is the interpreter to build with; EXTRAS names extras to install, such as s3,gcs.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
repository=$(dirname -- "$here")
python=${PYTHON:-python3}
pip="-m pip --disable-pip-version-check --no-input --quiet --quiet"
nobody=65534

wheel() {
    # From a copy: building leaves nothing behind in a checkout that may be read-only.
    source=$(mktemp -d)
    cp -R "$repository/pyproject.toml" "$repository/README.md" "$repository/LICENSE" \
        "$repository/pipelines" "$repository/sources" "$repository/destinations" "$source"
    # shellcheck disable=SC2086
    "$python" $pip wheel --no-cache-dir --no-deps --wheel-dir "$1" "$source"
    rm -rf "$source"
}

install() {
    "$python" -m venv "$2"
    # shellcheck disable=SC2086
    "$2/bin/python" $pip install ${NO_CACHE:+--no-cache-dir} --constraint "$repository/constraints.txt" \
        "$(echo "$1"/*.whl)${EXTRAS:+[$EXTRAS]}"
}

# The environment of the image: its ENV lines, for an image whose /app and /data are the given folders.
environment() {
    sed -n 's/^ENV //p' "$repository/Dockerfile" | sed "s|/app|$1|g; s|/data|$2|g; s|\$PATH|/usr/bin:/bin|g"
}

check() {
    work=$(mktemp -d /var/tmp/braze-elt-image.XXXXXX)
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    chmod 755 "$work"
    mkdir "$work/data" "$work/code"
    wheel "$work/wheels"
    install "$work/wheels" "$work/app"
    cp "$here/image.sh" "$here/healthy.sh" "$here/night.sh" "$work/code"
    chmod -R a-w "$work/app" "$work/code"
    environment "$work/app" "$work/data" > "$work/environment"
    if [ "$(id -u)" != 0 ]; then
        echo "image: run as $(id -un), with code that is read-only; only root can make the rest read-only too."
        as_image "$work"
        return
    fi
    chown "$nobody:$nobody" "$work/data"
    # An interpreter in a folder that is closed to others may still be read; nothing more may be written by that.
    caps=-all
    as_user "$nobody" "$caps" "$work/app/bin/python" -c '' 2> /dev/null || caps=-all,+dac_read_search
    if unshare --mount true 2> /dev/null; then
        echo "image: run as user $nobody on a read-only root file system."
        # shellcheck disable=SC2016
        unshare --mount sh -eu -c '
            mount --bind "$2/data" "$2/data"
            mount -o remount,bind,ro /
            mount -t tmpfs -o mode=1777 tmpfs /tmp
            shift
            exec "$0" as-image "$@"' "$work/code/image.sh" - "$work" "$nobody" "$caps"  # /tmp may have held the checkout
    else
        echo "image: run as user $nobody, with code that is read-only; the machine lets no one make the rest so."
        as_image "$work" "$nobody" "$caps"
    fi
}

# A command as user $1 with the capabilities $2, in an empty environment.
as_user() {
    user=$1 caps=$2
    shift 2
    setpriv --reuid="$user" --regid="$user" --clear-groups \
        --inh-caps="$caps" --ambient-caps="$caps" --bounding-set="$caps" env -i "$@"
}

# The night in the environment of the image, in the folder $1, as user $2 with the capabilities $3, or as this user.
as_image() {
    cd "$1/data"
    # shellcheck disable=SC2046
    if [ -n "${2-}" ]; then
        as_user "$2" "$3" $(cat "$1/environment") sh "$1/code/night.sh" "$1"
    else
        env -i $(cat "$1/environment") sh "$1/code/night.sh" "$1"
    fi
}

case "${1-}" in
    wheel) wheel "$2" ;;
    install) install "$2" "$3" ;;
    check) check ;;
    as-image) as_image "$2" "$3" "$4" ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
