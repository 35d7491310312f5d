#!/usr/bin/env bash
# Makes the Python environment that `make` works in; quick when nothing has changed.
#
#   tools/setup.sh           set up, then print what was found
#   tools/setup.sh --where   print the folder of the environment and do nothing
#
#   ROS_WHEELS=kilted        ROS 2 Kilted instead of Jazzy, in .venv-wheels-kilted (ROS_WHEELS=kilted make test)
#   TORCH=cpu                the CPU build of torch: much less to download, no GPU (make setup TORCH=cpu)
#   PYTHON=/path/to/python3  use this interpreter (3.10 or later) instead of looking for one
#
# Without ROS: .venv, with ROS 2 Jazzy (or what ROS_WHEELS says) from wheels where they exist (Linux x86_64, Python 3.10
# to 3.13).
# With a ROS 2 environment sourced: .venv-$ROS_DISTRO, which sees the packages of ROS and of the system and only adds
# what they lack (torch, safetensors, ...). pip never touches the system itself, nor the numpy and OpenCV that the
# distribution's cv_bridge was compiled against.
#
# What it costs is printed before it starts and measured when it is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

ros_sourced() { [[ -n ${ROS_DISTRO:-} && -n ${AMENT_PREFIX_PATH:-} ]] && python3 -c 'import rclpy' 2>/dev/null; }

wheels=${ROS_WHEELS:-jazzy}
if ros_sourced; then
    where=.venv-$ROS_DISTRO wheels=
elif [[ $wheels == jazzy ]]; then
    where=.venv
else
    where=.venv-wheels-$wheels
fi
if [[ ${1:-} == --where ]]; then
    echo "$where"
    exit
fi

fail() {
    echo "setup: $*" >&2
    exit 1
}
say() { printf '== %3d s  %s\n' "$SECONDS" "$*"; }

case $wheels in
'' | jazzy | kilted) ;;
*) fail "ROS_WHEELS=$wheels is unknown: there are wheels of jazzy and kilted" ;;
esac
case ${TORCH:-} in
'' | cpu | default) ;;
*) fail "TORCH=$TORCH is unknown: TORCH=cpu is the small build without GPU support, leave it out for the default build" ;;
esac

new_enough() { "$1" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

find_python() {  # the interpreter that was asked for, or the first one that is new enough; ROS's own when sourced
    local candidate version
    if [[ -n ${PYTHON:-} ]]; then
        version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
            fail "PYTHON=$PYTHON cannot be run"
        new_enough "$PYTHON" ||
            fail "PYTHON=$PYTHON is Python $version; Python 3.10 or later with the module venv is needed"
        command -v "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11 python3.10 python3.13; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail 'no Python >= 3.10 with venv found; install one (Debian and Ubuntu: apt install python3-venv),' \
        'or name it: make setup PYTHON=/path/to/python3'
}

python=$(find_python)
# The stamp: the interpreter and everything that the steps below read. Unchanged means that nothing is to be done.
inputs=(requirements*.txt setup.py setup.cfg tools/setup.sh tools/ros_wheels/build_tf2_msgs.py
    tools/ros_wheels/sensor_msgs_py/pyproject.toml tools/ros_wheels/sensor_msgs_py/sensor_msgs_py/*.py)
# Of an environment that exists the kind of torch stays when TORCH is not given.
kind=${TORCH:-$(cat "$where/torch.kind" 2>/dev/null || echo default)}
stamp=$({ echo "$PWD $("$python" -VV) $kind $wheels"; sha256sum "${inputs[@]}"; } | sha256sum)
if [[ -f $where/setup.stamp && $(<"$where/setup.stamp") == "$stamp" ]]; then
    exit
fi

if [[ $kind == cpu ]]; then
    cost='about 3.5 GB on disk, 2 to 5 minutes'
else
    cost='about 6 GB on disk with the CUDA libraries of torch, 5 to 15 minutes; make setup TORCH=cpu needs 3.5 GB'
fi
say "setting up $where with $("$python" -V) (once: $cost)"
options=()
[[ -n $wheels ]] || options+=(--system-site-packages)
[[ -x $where/bin/python ]] || "$python" -m venv "${options[@]}" "$where"
touch "$where/COLCON_IGNORE"
run() { "$where/bin/python" "$@"; }
has() { run -c "import $1" 2>/dev/null; }
size() { du -sh "$where" 2>/dev/null | cut -f 1; }

# pip's own progress bar for people; without a terminal a line now and then that tells time and size.
pip() {
    if [[ -t 1 ]]; then
        run -m pip --disable-pip-version-check install "$@"
        return
    fi
    local status=0
    run -m pip --disable-pip-version-check --quiet install "$@" &
    local job=$!
    while kill -0 $job 2>/dev/null; do
        for _ in $(seq 40); do
            sleep 0.5
            kill -0 $job 2>/dev/null || break
        done
        ! kill -0 $job 2>/dev/null || say "... still installing, $where has $(size)"
    done
    wait $job || status=$?
    return $status
}

# torch without CUDA, within the bounds of requirements.txt; the step after it installs what torch depends on.
torch_cpu() {
    pip --no-deps --index-url "$TORCH_CPU_INDEX" "$(grep '^torch' requirements.txt)" ||
        fail "the CPU build of torch cannot be downloaded from $TORCH_CPU_INDEX; set up without TORCH=cpu"
}

if [[ -n $wheels ]]; then
    if [[ $kind == cpu ]]; then
        say 'torch, CPU build'
        torch_cpu
    fi
    say 'torch, numpy, OpenCV and the tools of development'
    pip -r requirements.txt -r requirements-dev.txt -r requirements-docs.txt
    say "ROS 2 ${wheels^} from wheels"
    sed "s/^ros-jazzy-/ros-$wheels-/" requirements-ros.txt >"$where/requirements-ros.txt"
    pip -r "$where/requirements-ros.txt" ||
        say 'no ROS 2 wheels for this machine: the core works, the node and the demo need a ROS 2 environment'
else
    # Of a requirement that the distribution brings, its version stays: cv_bridge is compiled against it.
    constraints=$where/constraints.txt
    python3 -c 'import numpy; print(f"numpy=={numpy.__version__}")' 2>/dev/null >"$constraints" || : >"$constraints"
    wanted=$where/requirements.txt
    cat requirements.txt requirements-dev.txt requirements-docs.txt >"$wanted"
    ! has cv2 || sed -i '/^opencv/d' "$wanted"
    ! command -v colcon >/dev/null || sed -i '/^colcon/d' "$wanted"
    if [[ $kind == cpu ]] && ! has torch; then
        say 'torch, CPU build'
        torch_cpu
    fi
    say "what ROS 2 $ROS_DISTRO and the system lack"
    pip -c "$constraints" -r "$wanted"
fi
if has rclpy; then
    has sensor_msgs_py || pip --no-deps --no-build-isolation ./tools/ros_wheels/sensor_msgs_py
    if [[ -n $wheels ]]; then
        has tf2_msgs || run tools/ros_wheels/build_tf2_msgs.py ||
            say 'tf2_msgs cannot be built (apt install g++): the node does not listen to /tf, set use_tf to false'
    else
        for package in tf2_msgs tf2_ros launch_ros cv_bridge; do
            has $package || say "missing: sudo apt install ros-$ROS_DISTRO-${package//_/-}"
        done
    fi
fi
# The reference of the attention tests. Its layers need nothing of what it depends on, torchvision above all.
run -m pip --quiet show timm >/dev/null 2>&1 || pip --no-deps timm ||
    say 'timm cannot be installed: its layers are compared with stored answers only'
pip --no-deps --no-build-isolation --editable .
echo "$kind" >"$where/torch.kind"
echo "$stamp" >"$where/setup.stamp"
say "ready ($(size)): $where/bin/python -m attention_fusion_ros"
