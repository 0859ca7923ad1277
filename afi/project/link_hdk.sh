#!/usr/bin/env bash
# Links the HDK's build scripts into this project, as its examples have them. Run it in a shell that has sourced hdk_setup.sh.
set -euo pipefail
: "${HDK_SHELL_DIR:?source hdk_setup.sh of the AWS FPGA HDK first}"
cd "$(dirname "${BASH_SOURCE[0]}")"
for script in aws_build_dcp_from_cl.py build_all.tcl build_level_1_cl.tcl encrypt.tcl; do
  ln -sfn "$HDK_SHELL_DIR/build/scripts/$script" "$script"
done
