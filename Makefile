# `make demo` and `make test` are all a newcomer needs; both make their own environment in .venv.
PYTHON ?= python3
BIN = .venv/bin

# Without npm the released program cannot be had, without Go h2spec; their tests then say so and skip.
.PHONY: demo test fuzz simulate faults lint types contracts protocol bench-grpc bench-output bench-journal bench-runs bench-failover clean

.venv/run: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/dev: .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: .venv/run
	$(BIN)/dagu demo $(ARGS)

.venv/reference: tests/interop/install_reference.py .venv/dev
	@if $(BIN)/python $<; then touch $@; fi

.venv/h2spec: tests/interop/install_h2spec.py tests/interop/h2spec/go.mod .venv/dev
	@if $(BIN)/python $<; then touch $@; fi

test: .venv/dev .venv/reference .venv/h2spec
	$(BIN)/python -m pytest $(ARGS)

# Many more random cases, other ones each time; ARGS narrows it down.
fuzz: .venv/dev
	HYPOTHESIS_PROFILE=fuzz $(BIN)/python -m pytest tests/unit/wire tests/unit/grpc/test_any_order.py $(ARGS)

# Clusters in virtual time with everything going wrong: SEEDS=n from START=k, or one SEED=n with its timeline.
simulate: .venv/dev
	$(BIN)/python -m txdagu.testing.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),300) --start $(or $(START),0)) $(ARGS)

# Real processes that are killed, stopped and cut off at random: SEEDS runs from START on, some 20 s each.
faults: .venv/run
	$(BIN)/python -m txdagu.testing.faults --seeds $(or $(SEEDS),10) --start $(or $(START),1) $(ARGS)

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev
	$(BIN)/mypy

contracts: .venv/dev
	$(BIN)/lint-imports

protocol: .venv/dev
	$(BIN)/python -m grpc_tools.protoc -I src --python_out=src --pyi_out=src src/txdagu/protocol/*.proto src/txdagu/testing/interop/*.proto

.venv/bench: .venv/run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench-grpc: .venv/bench
	$(BIN)/python bench/grpc.py $(ARGS)

bench-output: .venv/run
	$(BIN)/python bench/output.py $(ARGS)

bench-journal: .venv/run
	$(BIN)/python bench/journal.py $(ARGS)

bench-runs: .venv/run
	$(BIN)/python bench/runs.py $(ARGS)

bench-failover: .venv/run
	$(BIN)/python bench/failover.py $(ARGS)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
