# shellcheck shell=bash
# The environment; sourced by run.sh, the recipes and tests/run.sh. Quiet when it is ready.
# On first use, and whenever requirements.txt changes, it makes .venv from that lock.

SER_MTL=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd) || return
export SER_MTL

make_environment() {
  local python candidate
  for candidate in "${PYTHON:-python3}" python3.12 python3.13 python3.11 python3.10 python3.14; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  if [[ -z ${python:-} ]]; then
    echo "error: no Python of at least 3.10 with its venv module is on the PATH" >&2
    echo "  try: install python3 and python3-venv, or set PYTHON to another interpreter" >&2
    return 2
  fi
  echo "path.sh: setting up .venv (some 5 GB, once)" >&2
  rm -rf "$SER_MTL/.venv"
  "$python" -m venv "$SER_MTL/.venv" || return 2
  local pip=("$SER_MTL/.venv/bin/python" -m pip --quiet --disable-pip-version-check)
  local lock=$SER_MTL/requirements.txt uv=$SER_MTL/.venv/bin/uv
  # uv, by its own entry in the lock, installs ten times faster; where it cannot, pip does.
  if "${pip[@]}" install --require-hashes --no-deps -r <(sed -n '/^uv==/,/^ *# via/p' "$lock") 2>/dev/null &&
    "$uv" pip install --quiet --python "$SER_MTL/.venv/bin/python" --require-hashes -r "$lock"; then
    :
  else
    echo "path.sh: uv did not; going on with pip (some minutes)" >&2
    "${pip[@]}" install --require-hashes -r "$lock" || {
      echo "error: the packages of requirements.txt could not be installed" >&2
      echo "  try: see pip's message above, repair the network or the disk, and run again" >&2
      return 2
    }
  fi
  cp "$lock" "$SER_MTL/.venv/requirements.txt" # last: it marks a whole environment
}

if ! cmp -s "$SER_MTL/requirements.txt" "$SER_MTL/.venv/requirements.txt"; then
  if command -v flock >/dev/null; then
    # Two first uses at once: the second waits, and it is made.
    exec {lock}>"$SER_MTL/.venv.lock" && flock "$lock"
    cmp -s "$SER_MTL/requirements.txt" "$SER_MTL/.venv/requirements.txt" || make_environment || return
    exec {lock}>&-
  else
    make_environment || return
  fi
fi

if [[ ! -x $SER_MTL/.venv/bin/python ]]; then
  echo "error: $SER_MTL/.venv/bin/python cannot be run: the Python that it leads to is gone, or another account's" >&2
  echo "  try: rm -r '$SER_MTL/.venv', and run again: it is set up then" >&2
  return 2
fi

# By its true path: of copies of the project that share one by a link, none compiles torch again.
venv=$(cd -P -- "$SER_MTL/.venv" && pwd) || return
export PATH=$venv/bin:$PATH
export PYTHONPATH=$SER_MTL
export PYTHONSAFEPATH=1            # no module is loaded from the current folder (from Python 3.11)
export TORCH_FORCE_WEIGHTS_ONLY_LOAD=1 # of every pickle, whatever a library asks for
unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD # with both set, nothing is loaded
export PYTHONUNBUFFERED=1          # logs in the order in which things happen
export PYTHONPYCACHEPREFIX=$venv/bytecode # without it every process compiles torch for ten seconds
unset PYTHONDONTWRITEBYTECODE PYTHONOPTIMIZE # without docstrings (2), transformers cannot load a model
export PYTHONHASHSEED=0            # nothing may depend on the order of a set
export TOKENIZERS_PARALLELISM=false
# Freed memory is kept for the next tensor: to get new pages from the system took a tenth of the time.
export MALLOC_MMAP_THRESHOLD_=${MALLOC_MMAP_THRESHOLD_:-4294967296} MALLOC_TRIM_THRESHOLD_=${MALLOC_TRIM_THRESHOLD_:-4294967296}
# In huge pages, where Linux gives them to those who ask (glibc 2.35): a tenth to an eighth less time for large models.
[[ ${GLIBC_TUNABLES:-} == *hugetlb* ]] || export GLIBC_TUNABLES=${GLIBC_TUNABLES:+$GLIBC_TUNABLES:}glibc.malloc.hugetlb=1
export ONEDNN_PRIMITIVE_CACHE_CAPACITY=${ONEDNN_PRIMITIVE_CACHE_CAPACITY:-8192} # shapes of operations, else 1024
# A thread that waits for the others of its job gives its core away sooner: beside a busy process a small model took a
# quarter less time, one of large layers two fifths.
[[ -n ${OMP_WAIT_POLICY:-} ]] || export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-1000}
# No telemetry: onnxruntime keeps a number of the machine and, by its own statement, reports its use to Microsoft.
export HF_HUB_DISABLE_TELEMETRY=1 ORT_DISABLE_TELEMETRY=1
