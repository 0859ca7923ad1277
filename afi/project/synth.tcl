# Synthesis of the custom logic, called by the HDK's build_all.tcl (F2). Nothing of the HDK's IP is used.
source ${HDK_SHELL_DIR}/build/scripts/synth_cl_header.tcl

read_verilog -sv [glob ${src_post_enc_dir}/*.{v,sv}]

read_xdc [list ${constraints_dir}/cl_synth_user.xdc ${constraints_dir}/cl_timing_user.xdc]
set_property PROCESSING_ORDER LATE [get_files cl_synth_user.xdc]
set_property PROCESSING_ORDER LATE [get_files cl_timing_user.xdc]

update_compile_order -fileset sources_1

# Registers that are there twice belong to two channels of which one watches the other: none may be merged.
synth_design -mode out_of_context -top ${CL} -verilog_define XSDB_SLV_DIS -part ${DEVICE_TYPE} \
  -keep_equivalent_registers -shreg_min_size 8

source ${HDK_SHELL_DIR}/build/scripts/synth_cl_footer.tcl
