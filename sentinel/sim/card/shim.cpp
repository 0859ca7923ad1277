// The emitted core behind a flat C ABI: clock, AXI masters and slaves, and the host memory PCIM writes to.
//
// Every access is a true handshake on the core's ports, one edge of the 250 MHz clock at a time. As on the AWS shell,
// what takes longer than 2,000 cycles (8 us) is given up: reads become all ones, writes are dropped, both are counted.
// A card can be made to fail: pulled, its clock stopped, a record on its way damaged, lost or overtaken.
#include "Vsentinel_core.h"
#include "verilated.h"

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>

namespace {

constexpr uint32_t BEAT = 64;
constexpr int FULL_SIZE = 6;  // AxSIZE of 64 bytes
constexpr uint32_t OUTSTANDING = 32;
constexpr uint64_t SHELL_TIMEOUT = 2000;
constexpr uint32_t ALL_ONES = 0xFFFFFFFF;
constexpr int RESET_CYCLES = 8;
constexpr int RELAX_CYCLES = 64;
enum { OKAY = 0, SLVERR = 2, TIMED_OUT = -1 };
enum RecordFault { NO_FAULT = 0, DAMAGED = 1, LOST = 2, OVERTAKEN = 3 };
constexpr int DAMAGED_WORD = 8;  // of a decision: its first margin

struct Beat {
    uint64_t address;
    uint64_t strobe;
    uint32_t data[16];
};
struct Address {
    uint64_t address;
    uint16_t id;
    uint8_t length;
};
struct Answer {
    uint16_t id;
    uint8_t response;
};

// Host memory and counters, shared with the caller; the order is known to library.py.
struct Counters {
    uint64_t cycles, records, stray_writes, refused_beats, lite_timeouts, pcis_timeouts, pcis_errors;
};

// One AXI4-Lite port: its signals, and the answer of the access under way.
struct Lite {
    IData &awaddr, &wdata, &araddr, &rdata;
    CData &awvalid, &awready, &wvalid, &wready, &wstrb, &bvalid, &bready, &bresp;
    CData &arvalid, &arready, &rvalid, &rready, &rresp;
    int response = TIMED_OUT;
    bool answered = false;
    uint32_t value = ALL_ONES;

    void begin_write(uint32_t address, uint32_t word) {
        awaddr = address, wdata = word, wstrb = 0xF, awvalid = wvalid = bready = 1;
        answered = false, response = TIMED_OUT;
    }
    void begin_read(uint32_t address) {
        araddr = address, arvalid = rready = 1;
        answered = false, response = TIMED_OUT, value = ALL_ONES;
    }
    void end() { awvalid = wvalid = bready = arvalid = rready = 0; }
    // What shakes hands at the coming edge; after it `next` takes those valids down.
    void sample() {
        aw = awvalid && awready, w = wvalid && wready, ar = arvalid && arready;
        if (bvalid && bready) answered = true, response = bresp;
        if (rvalid && rready) answered = true, response = rresp, value = rdata;
    }
    void next() {
        if (aw) awvalid = 0;
        if (w) wvalid = 0;
        if (ar) arvalid = 0;
        if (answered) bready = rready = 0;
    }
    bool aw = false, w = false, ar = false;
};
#define LITE(p)                                                                                                       \
    {top.p##_awaddr, top.p##_wdata, top.p##_araddr, top.p##_rdata, top.p##_awvalid, top.p##_awready, top.p##_wvalid,   \
     top.p##_wready, top.p##_wstrb, top.p##_bvalid, top.p##_bready, top.p##_bresp, top.p##_arvalid, top.p##_arready,   \
     top.p##_rvalid, top.p##_rready, top.p##_rresp}

struct Card {
    VerilatedContext context;
    Vsentinel_core top;
    Lite ocl, sda;
    Lite *busy = nullptr;  // the port whose access is under way
    Counters counters{};
    uint64_t time_base = 0;

    std::deque<Beat> beats;  // accepted from the host; the first `answered` are gone
    uint32_t addresses_sent = 0, data_sent = 0;
    uint64_t oldest_since = 0;

    uint8_t *ring = nullptr;
    uint64_t ring_address = 0, ring_bytes = 0;
    std::deque<Address> pcim_addresses;
    std::deque<Beat> pcim_data;
    std::deque<Answer> pcim_answers;

    // Of 256 cycles, in how many a channel pauses: host's beats, ring's ready, ring's answers.
    uint32_t pause_pcis = 0, pause_ring = 0, pause_answers = 0;
    uint32_t noise = 1;

    bool pulled = false, stopped = false;
    RecordFault fault = NO_FAULT;  // of the next record
    std::deque<std::pair<uint64_t, Beat>> held;  // overtaken by the next, with its place

    Card() : top(&context), ocl LITE(ocl), sda LITE(sda) { reset(); }
    ~Card() { top.final(); }

    bool pauses(uint32_t share) {
        if (share == 0) return false;
        noise ^= noise << 13, noise ^= noise >> 17, noise ^= noise << 5;
        return (noise & 0xFF) < share;
    }

    void drop_beats() { beats.clear(), addresses_sent = data_sent = 0, pcis_idle(); }
    void pcis_idle() { top.pcis_awvalid = top.pcis_wvalid = 0; }

    void reset() {
        drop_beats();
        pcim_addresses.clear(), pcim_data.clear(), pcim_answers.clear();
        ocl.end(), sda.end();
        top.pcim_bvalid = 0;
        top.rst = 1;
        for (int i = 0; i < RESET_CYCLES; i++) cycle();
        top.rst = 0;
        cycle();
    }

    // Valid stays up until its handshake, so a pause only ever delays the start of one.
    void drive_pcis() {
        top.pcis_bready = 1;
        if (!top.pcis_awvalid && addresses_sent < beats.size() && !pauses(pause_pcis)) {
            top.pcis_awaddr = beats[addresses_sent].address;
            top.pcis_awsize = FULL_SIZE, top.pcis_awlen = 0;
            top.pcis_awvalid = 1;
        }
        if (!top.pcis_wvalid && data_sent < beats.size() && !pauses(pause_pcis)) {
            const Beat &beat = beats[data_sent];
            for (int i = 0; i < 16; i++) top.pcis_wdata[i] = beat.data[i];
            top.pcis_wstrb = beat.strobe;
            top.pcis_wlast = 1;
            top.pcis_wvalid = 1;
        }
    }

    void drive_pcim() {
        top.pcim_awready = pcim_addresses.size() < OUTSTANDING && !pauses(pause_ring);
        top.pcim_wready = pcim_data.size() < OUTSTANDING && !pauses(pause_ring);
        if (!top.pcim_bvalid && !pcim_answers.empty() && !pauses(pause_answers)) {
            top.pcim_bid = pcim_answers.front().id;
            top.pcim_bresp = pcim_answers.front().response;
            top.pcim_bvalid = 1;
            pcim_answers.pop_front();
        }
    }

    // The word with the slot number last, as a reader on another core must see it.
    void store(uint64_t offset, const Beat &beat) {
        std::memcpy(ring + offset, beat.data, BEAT - 8);
        uint64_t last;
        std::memcpy(&last, beat.data + 14, 8);
        __atomic_store_n(reinterpret_cast<uint64_t *>(ring + offset + BEAT - 8), last, __ATOMIC_RELEASE);
        counters.records++;
    }

    void deliver(uint64_t offset, Beat beat) {
        const RecordFault now = fault;
        fault = NO_FAULT;
        if (now == LOST) return;
        if (now == OVERTAKEN) {
            held.push_back({offset, beat});
            return;
        }
        if (now == DAMAGED) beat.data[DAMAGED_WORD] ^= 1;
        store(offset, beat);
        for (const auto &[place, late] : held) store(place, late);
        held.clear();
    }

    void serve_pcim() {
        while (!pcim_addresses.empty() && !pcim_data.empty()) {
            const Address at = pcim_addresses.front();
            const Beat &beat = pcim_data.front();
            const uint64_t offset = at.address - ring_address;
            const bool inside = ring != nullptr && at.address >= ring_address && offset + BEAT <= ring_bytes;
            const bool whole = at.length == 0 && at.address % BEAT == 0 && ~beat.strobe == 0;
            if (inside && whole) {
                deliver(offset, beat);
            } else {
                counters.stray_writes++;
            }
            pcim_answers.push_back({at.id, static_cast<uint8_t>(inside && whole ? OKAY : SLVERR)});
            pcim_addresses.pop_front();
            pcim_data.pop_front();
        }
    }

    void cycle() {
        if (stopped) return;
        drive_pcis();
        drive_pcim();
        top.now = time_base + counters.cycles;
        top.clk = 0;
        top.eval();
        const bool address = top.pcis_awvalid && top.pcis_awready, data = top.pcis_wvalid && top.pcis_wready;
        const bool answer = top.pcis_bvalid && top.pcis_bready;
        const bool error = answer && top.pcis_bresp != OKAY;
        if (top.pcim_awvalid && top.pcim_awready)
            pcim_addresses.push_back({top.pcim_awaddr, static_cast<uint16_t>(top.pcim_awid), top.pcim_awlen});
        if (top.pcim_wvalid && top.pcim_wready) {
            Beat beat{0, top.pcim_wstrb, {}};
            for (int i = 0; i < 16; i++) beat.data[i] = top.pcim_wdata[i];
            pcim_data.push_back(beat);
        }
        const bool answered = top.pcim_bvalid && top.pcim_bready;
        if (busy) busy->sample();
        top.clk = 1;
        top.eval();
        counters.cycles++;
        if (busy) busy->next();
        if (address) top.pcis_awvalid = 0, addresses_sent++;
        if (data) top.pcis_wvalid = 0, data_sent++;
        if (answered) top.pcim_bvalid = 0;
        counters.pcis_errors += error;
        if (answer && !beats.empty()) {
            beats.pop_front(), addresses_sent--, data_sent--;
            oldest_since = counters.cycles;
        } else if (!beats.empty() && counters.cycles - oldest_since > SHELL_TIMEOUT) {
            counters.pcis_timeouts += beats.size();
            drop_beats();
        }
        serve_pcim();
    }

    // What is posted to a card that is gone is gone too, and nobody is told.
    bool write(uint64_t offset, const void *data, uint64_t strobe) {
        if (pulled) return true;
        for (uint64_t waited = 0; beats.size() >= OUTSTANDING; waited++) {
            if (waited > SHELL_TIMEOUT) break;
            cycle();
        }
        if (offset % BEAT || beats.size() >= OUTSTANDING) {
            counters.refused_beats++;
            return false;
        }
        if (beats.empty()) oldest_since = counters.cycles;
        Beat beat{offset, strobe, {}};
        std::memcpy(beat.data, data, BEAT);
        beats.push_back(beat);
        return true;
    }

    int finish(Lite &port) {
        if (pulled) {
            port.end();
            return TIMED_OUT;
        }
        busy = &port;
        for (uint64_t waited = 0; waited < SHELL_TIMEOUT && !port.answered; waited++) cycle();
        busy = nullptr;
        port.end();
        counters.lite_timeouts += !port.answered;
        return port.response;
    }

    int lite_write(Lite &port, uint32_t address, uint32_t value) {
        port.begin_write(address, value);
        return finish(port);
    }

    int lite_read(Lite &port, uint32_t address, uint32_t *value) {
        port.begin_read(address);
        const int response = finish(port);
        *value = port.value;
        return response;
    }
};

}  // namespace

extern "C" {
Card *card_new() { return new Card; }
void card_free(Card *card) { delete card; }
void card_reset(Card *card) { card->reset(); }
Counters *card_counters(Card *card) { return &card->counters; }
void card_step(Card *card, uint64_t cycles) {
    while (!card->pulled && cycles--) card->cycle();
}
// Until `records` more have come into the ring, at most `cycles`. Returns the cycles run.
uint64_t card_run(Card *card, uint64_t records, uint64_t cycles) {
    const uint64_t begin = card->counters.cycles, enough = card->counters.records + records;
    if (card->pulled || card->stopped) return 0;
    while (card->counters.records < enough && card->counters.cycles - begin < cycles) card->cycle();
    return card->counters.cycles - begin;
}
uint64_t card_now(Card *card) { return card->time_base + card->counters.cycles; }
void card_set_now(Card *card, uint64_t now) { card->time_base = now - card->counters.cycles; }
void card_set_ring(Card *card, void *memory, uint64_t address, uint64_t bytes) {
    card->ring = static_cast<uint8_t *>(memory), card->ring_address = address, card->ring_bytes = bytes;
}
void card_set_pauses(Card *card, uint32_t pcis, uint32_t ring, uint32_t answers, uint32_t seed) {
    card->pause_pcis = pcis, card->pause_ring = ring, card->pause_answers = answers, card->noise = seed ? seed : 1;
}
void card_pull(Card *card) { card->pulled = true; }
void card_stop_clock(Card *card) { card->stopped = true; }
void card_spoil_record(Card *card, int fault) { card->fault = static_cast<RecordFault>(fault); }
void card_set_vdip(Card *card, uint32_t value) { card->top.vdip = value; }
uint32_t card_vled(Card *card) { return card->top.vled; }
uint32_t card_irq(Card *card) { return card->top.irq; }
uint32_t card_outstanding(Card *card) { return card->beats.size(); }
int card_ocl_read(Card *card, uint32_t address, uint32_t *value) { return card->lite_read(card->ocl, address, value); }
int card_ocl_write(Card *card, uint32_t address, uint32_t value) { return card->lite_write(card->ocl, address, value); }
int card_sda_read(Card *card, uint32_t address, uint32_t *value) { return card->lite_read(card->sda, address, value); }
int card_sda_write(Card *card, uint32_t address, uint32_t value) { return card->lite_write(card->sda, address, value); }
int card_write_strobed(Card *card, int64_t offset, const void *data, uint64_t strobe) {
    return card->write(offset, data, strobe) ? 0 : 1;
}
// The two hot functions of a Bus.
int card_write64(void *card, int64_t offset, const void *data) {
    return static_cast<Card *>(card)->write(offset, data, ~uint64_t{0}) ? 0 : 1;
}
void card_relax(void *card) { card_run(static_cast<Card *>(card), 1, RELAX_CYCLES); }
}
