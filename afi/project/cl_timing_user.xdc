# The switches are asynchronous and enter two flip-flops each; nobody samples the lamps.
set_false_path -from [get_ports -quiet {sh_cl_status_vdip[*]}]
set_property ASYNC_REG true [get_cells -hierarchical -filter {NAME =~ *SHELL/core/switch*_reg*}]
set_false_path -from [get_cells -hierarchical -filter {NAME =~ *cl_sh_status_vled_reg*}]
