# PCIS and the register windows enter from the middle die, PCIM too: the slices of a port may lie in any, the core is left
# to the placer. Shift registers would undo the stages that cross between dies.
set_property SHREG_EXTRACT no [get_cells -hierarchical -filter {NAME =~ *SHELL/pcis_* || NAME =~ *SHELL/pcim_* || NAME =~ *SHELL/ocl_* || NAME =~ *SHELL/sda_*}]
