// A small module with the core's ports, to test the simulated card apart from the core: a scratch register on each
// register port, an address that never answers, one that answers SLVERR, and PCIS beats echoed to the ring.
module sentinel_core(
    input clk, input rst, input [63:0] now,
    input [31:0] ocl_awaddr, input ocl_awvalid, output ocl_awready, input [31:0] ocl_wdata, input [3:0] ocl_wstrb,
    input ocl_wvalid, output ocl_wready, output reg [1:0] ocl_bresp, output reg ocl_bvalid, input ocl_bready,
    input [31:0] ocl_araddr, input ocl_arvalid, output ocl_arready, output reg [31:0] ocl_rdata,
    output reg [1:0] ocl_rresp, output reg ocl_rvalid, input ocl_rready,
    input [31:0] sda_awaddr, input sda_awvalid, output sda_awready, input [31:0] sda_wdata, input [3:0] sda_wstrb,
    input sda_wvalid, output sda_wready, output reg [1:0] sda_bresp, output reg sda_bvalid, input sda_bready,
    input [31:0] sda_araddr, input sda_arvalid, output sda_arready, output reg [31:0] sda_rdata,
    output reg [1:0] sda_rresp, output reg sda_rvalid, input sda_rready,
    input [15:0] pcis_awid, input [63:0] pcis_awaddr, input [7:0] pcis_awlen, input [2:0] pcis_awsize,
    input pcis_awvalid, output pcis_awready, input [511:0] pcis_wdata, input [63:0] pcis_wstrb, input pcis_wlast,
    input pcis_wvalid, output pcis_wready, output [15:0] pcis_bid, output reg [1:0] pcis_bresp, output reg pcis_bvalid,
    input pcis_bready,
    output [15:0] pcim_awid, output reg [63:0] pcim_awaddr, output [7:0] pcim_awlen, output [2:0] pcim_awsize,
    output reg pcim_awvalid, input pcim_awready, output reg [511:0] pcim_wdata, output reg [63:0] pcim_wstrb,
    output pcim_wlast, output reg pcim_wvalid, input pcim_wready, input [15:0] pcim_bid, input [1:0] pcim_bresp,
    input pcim_bvalid, output pcim_bready,
    input [15:0] vdip, output [15:0] vled, output irq
);
    localparam HANG = 32'h100, REFUSE = 32'h200, NOW = 32'h300, ERRORS = 32'h304;
    assign pcis_bid = 0, pcim_awid = 16'h0007, pcim_awlen = 0, pcim_awsize = 6, pcim_wlast = 1, pcim_bready = 1;
    assign vled = vdip + 1, irq = vdip[1];

    reg [31:0] ocl_scratch, sda_scratch, errors, ocl_address;
    reg ocl_aw, ocl_w;
    // Data taken after the address, so that a master that forgets either is seen.
    assign ocl_awready = !ocl_aw && !ocl_bvalid, ocl_wready = ocl_aw && !ocl_w, ocl_arready = !ocl_rvalid;
    assign sda_awready = sda_wvalid && sda_awvalid && !sda_bvalid, sda_wready = sda_awready, sda_arready = !sda_rvalid;

    reg have_aw, have_w;
    reg [63:0] address, strobe;
    reg [511:0] data;
    wire idle = !pcim_awvalid && !pcim_wvalid;
    assign pcis_awready = !have_aw, pcis_wready = !have_w;
    integer i;
    always @(posedge clk) begin
        if (ocl_awvalid && ocl_awready) begin ocl_aw <= 1; ocl_address <= ocl_awaddr; end
        if (ocl_wvalid && ocl_wready) begin
            if (ocl_address == 0) ocl_scratch <= ocl_wdata;
            ocl_aw <= ocl_address == HANG;
            ocl_w <= ocl_address == HANG;
            ocl_bvalid <= ocl_address != HANG;
            ocl_bresp <= ocl_address == REFUSE ? 2 : 0;
        end
        if (ocl_bvalid && ocl_bready) ocl_bvalid <= 0;
        if (ocl_arvalid && ocl_arready && ocl_araddr != HANG) begin
            ocl_rvalid <= 1;
            ocl_rresp <= ocl_araddr == REFUSE ? 2 : 0;
            ocl_rdata <= ocl_araddr == 0 ? ocl_scratch : ocl_araddr == NOW ? now[31:0] : ocl_araddr == ERRORS ? errors : 0;
        end
        if (ocl_rvalid && ocl_rready) ocl_rvalid <= 0;

        if (sda_awready) begin sda_scratch <= sda_wdata; sda_bvalid <= 1; sda_bresp <= 0; end
        if (sda_bvalid && sda_bready) sda_bvalid <= 0;
        if (sda_arvalid && sda_arready) begin sda_rvalid <= 1; sda_rdata <= ~sda_scratch; sda_rresp <= 0; end
        if (sda_rvalid && sda_rready) sda_rvalid <= 0;

        // A beat at offset A goes to the ring at RING + A; a beat at an offset above 2^20 is never answered.
        if (pcis_awvalid && pcis_awready) begin have_aw <= 1; address <= pcis_awaddr; end
        if (pcis_wvalid && pcis_wready) begin have_w <= 1; data <= pcis_wdata; strobe <= pcis_wstrb; end
        if (have_aw && have_w && idle && !pcis_bvalid && address < 64'h100000) begin
            have_aw <= 0; have_w <= 0;
            pcis_bvalid <= 1; pcis_bresp <= 0;
            pcim_awaddr <= 64'h1234560000 + address;
            pcim_wdata <= data;
            pcim_wstrb <= strobe;
            pcim_awvalid <= 1; pcim_wvalid <= 1;
        end
        if (pcis_bvalid && pcis_bready) pcis_bvalid <= 0;
        if (pcim_awvalid && pcim_awready) pcim_awvalid <= 0;
        if (pcim_wvalid && pcim_wready) pcim_wvalid <= 0;
        if (pcim_bvalid && pcim_bready && pcim_bresp != 0) errors <= errors + 1;

        if (rst) begin
            ocl_aw <= 0; ocl_w <= 0; ocl_bvalid <= 0; ocl_rvalid <= 0; sda_bvalid <= 0; sda_rvalid <= 0;
            ocl_scratch <= 32'h5EED; sda_scratch <= 0; errors <= 0;
            have_aw <= 0; have_w <= 0; pcis_bvalid <= 0; pcim_awvalid <= 0; pcim_wvalid <= 0;
        end
    end
endmodule
