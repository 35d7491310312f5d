#!/usr/bin/env bash
# Makes the Python environment that `make` works in; quick when nothing has changed.
#
#   tools/setup.sh           set up, then print what was found
#   tools/setup.sh --where   print the folder of the environment and do nothing
#
# Without ROS: .venv, with ROS 2 Jazzy from wheels where there are any (Linux x86_64, Python 3.10 to 3.13).
# With a ROS 2 environment sourced: .venv-$ROS_DISTRO, which sees the packages of ROS and of the system and only adds
# what they lack (torch, safetensors, ...). pip never touches the system itself, nor the numpy and OpenCV that the
# distribution's cv_bridge was compiled against.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ros_sourced() { [[ -n ${ROS_DISTRO:-} && -n ${AMENT_PREFIX_PATH:-} ]] && python3 -c 'import rclpy' 2>/dev/null; }

if ros_sourced; then
    where=.venv-$ROS_DISTRO
else
    where=.venv
fi
if [[ ${1:-} == --where ]]; then
    echo "$where"
    exit
fi

say() { echo "== $*"; }

find_python() {  # the first interpreter that is new enough; ROS's own when sourced
    local candidate
    for candidate in ${PYTHON:-python3} python3.12 python3.11 python3.10 python3.13; do
        if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo 'setup: no Python >= 3.10 with venv found; install one (Debian and Ubuntu: apt install python3-venv),' \
        'or name it: make setup PYTHON=/path/to/python3' >&2
    return 1
}

python=$(find_python)
# The stamp: the interpreter and everything that the steps below read. Unchanged means that nothing is to be done.
inputs=(requirements*.txt setup.py setup.cfg tools/setup.sh tools/build_tf2_msgs.py tools/sensor_msgs_py/pyproject.toml
    tools/sensor_msgs_py/sensor_msgs_py/*.py)
stamp=$({ echo "$PWD $("$python" -VV)"; sha256sum "${inputs[@]}"; } | sha256sum)
if [[ -f $where/setup.stamp && $(<"$where/setup.stamp") == "$stamp" ]]; then
    exit
fi

say "setting up $where with $("$python" -V) (once; some minutes, mostly torch)"
quiet=()
[[ -t 1 ]] || quiet=(--quiet)  # progress bars are for people
options=()
[[ $where == .venv ]] || options+=(--system-site-packages)
[[ -x $where/bin/python ]] || "$python" -m venv "${options[@]}" "$where"
touch "$where/COLCON_IGNORE"
run() { "$where/bin/python" "$@"; }
pip() { run -m pip --disable-pip-version-check "${quiet[@]}" install "$@"; }
has() { run -c "import $1" 2>/dev/null; }

if [[ $where == .venv ]]; then
    pip -r requirements.txt -r requirements-dev.txt
    say 'ROS 2 from wheels'
    pip -r requirements-ros.txt ||
        say 'no ROS 2 wheels for this machine: the core works, the node and the demo need a ROS 2 environment'
else
    # Of a requirement that the distribution brings, its version stays: cv_bridge is compiled against it.
    constraints=$where/constraints.txt
    python3 -c 'import numpy; print(f"numpy=={numpy.__version__}")' 2>/dev/null >"$constraints" || : >"$constraints"
    wanted=$where/requirements.txt
    cat requirements.txt requirements-dev.txt >"$wanted"
    ! has cv2 || sed -i '/^opencv/d' "$wanted"
    ! command -v colcon >/dev/null || sed -i '/^colcon/d' "$wanted"
    pip -c "$constraints" -r "$wanted"
fi
if has rclpy; then
    has sensor_msgs_py || pip --no-deps --no-build-isolation ./tools/sensor_msgs_py
    if [[ $where == .venv ]]; then
        has tf2_msgs || run tools/build_tf2_msgs.py ||
            say 'tf2_msgs cannot be built (apt install g++): /tf is not listened to, set use_tf to false'
    else
        for package in tf2_msgs tf2_ros launch_ros cv_bridge; do
            has $package || say "missing: sudo apt install ros-$ROS_DISTRO-${package//_/-}"
        done
    fi
fi
# The reference of the attention tests. Its layers need nothing of what it depends on, torchvision above all.
run -m pip --quiet show timm >/dev/null 2>&1 || pip --no-deps timm || say 'timm cannot be installed: its layers are compared by their stored answers only'
pip --no-deps --no-build-isolation --editable .
echo "$stamp" >"$where/setup.stamp"
say "ready: $where/bin/python -m attention_fusion_ros"
