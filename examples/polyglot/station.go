package main

import (
	"context"
	"log"

	"github.com/ipcgen/ipcgen/examples/polyglot/polyglotv1"
	"github.com/ipcgen/ipcgen/runtime/ipc"
)

// sensors are what the station has.
var sensors = map[string]*polyglotv1.Sensor{
	"attic":  {Place: "the attic", Unit: "°C", Correction: 0.5},
	"cellar": {Place: "the cellar", Unit: "°C", Correction: -8},
	"meter":  {Place: "the meter", Unit: "kW"},
}

// station is what the workers call back.
type station struct{ out *log.Logger }

// caller is the station to one of its callers, whom it names.
type caller struct {
	*station
	name string
}

// Describe tells about a sensor.
func (c caller) Describe(_ context.Context, req *polyglotv1.DescribeRequest) (*polyglotv1.Sensor, error) {
	sensor := sensors[req.Sensor]
	if sensor == nil {
		return nil, ipc.Errorf(ipc.NotFound, "no such sensor: %w", &polyglotv1.UnknownSensor{Sensor: req.Sensor})
	}
	c.out.Printf("  %-10s asks Go:         what is %q? %s, in %s, to be corrected by %v", c.name, req.Sensor, sensor.Place, sensor.Unit, sensor.Correction)
	return sensor, nil
}

// Log is told what a worker does.
func (c caller) Log(_ context.Context, req *polyglotv1.LogRequest) error {
	c.out.Printf("  %-10s tells Go:        %s", c.name, req.Text)
	return nil
}
