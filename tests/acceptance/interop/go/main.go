// A client that has nothing of Hundredfold but proto/, from which interop/hundredfoldv1 is generated.
//
//	client ADDRESS REQUEST_ID
//
// Prints what it saw, as JSON; test_interop.py says what that must be.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	"interop/hundredfoldv1"
)

type seen struct {
	Submitted        []string       `json:"submitted"`
	Events           []event        `json:"events"`
	Task             task           `json:"task"`
	Result           map[string]any `json:"result"`
	Behaviours       []string       `json:"behaviours"`
	UnknownBehaviour refusal        `json:"unknownBehaviour"`
	InvalidInput     refusal        `json:"invalidInput"`
	Health           string         `json:"health"`
	Services         []string       `json:"services"`
}

type event struct {
	Sequence uint64 `json:"sequence"`
	What     any    `json:"what"`
}

type task struct {
	ID           string `json:"id"`
	State        string `json:"state"`
	LastSequence uint64 `json:"lastSequence"`
}

type refusal struct {
	Code     string            `json:"code"`
	Message  string            `json:"message"`
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata"`
	Fields   []string          `json:"fields"`
}

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	connection := must(grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials())))
	defer connection.Close()
	if err := json.NewEncoder(os.Stdout).Encode(look(ctx, connection, os.Args[2])); err != nil {
		log.Fatal(err)
	}
}

func look(ctx context.Context, connection *grpc.ClientConn, requestID string) seen {
	tasks := hundredfoldv1.NewTaskServiceClient(connection)
	greet := submission("greet", `{"name": "Ada", "times": 3}`, requestID)
	first := must(tasks.SubmitTask(ctx, greet)).GetTask()
	second := must(tasks.SubmitTask(ctx, greet)).GetTask()
	events := watch(ctx, tasks, first.GetId())
	done := must(tasks.GetTask(ctx, &hundredfoldv1.GetTaskRequest{TaskId: first.GetId()})).GetTask()
	return seen{
		Submitted:        []string{first.GetId(), second.GetId()},
		Events:           events,
		Task:             task{done.GetId(), done.GetState().String(), done.GetLastSequence()},
		Result:           parse(done.GetResult()),
		Behaviours:       behaviours(ctx, connection),
		UnknownBehaviour: refused(tasks.SubmitTask(ctx, submission("gret", `{}`, ""))),
		InvalidInput:     refused(tasks.SubmitTask(ctx, submission("greet", `{"name": "Ada", "times": "often"}`, ""))),
		Health:           health(ctx, connection),
		Services:         services(ctx, connection),
	}
}

func submission(behaviour, input, requestID string) *hundredfoldv1.SubmitTaskRequest {
	spec := &hundredfoldv1.TaskSpec{Behaviour: behaviour, Input: &hundredfoldv1.Payload{Data: []byte(input)}}
	return &hundredfoldv1.SubmitTaskRequest{Spec: spec, RequestId: requestID}
}

func watch(ctx context.Context, tasks hundredfoldv1.TaskServiceClient, taskID string) (events []event) {
	stream := must(tasks.WatchTask(ctx, &hundredfoldv1.WatchTaskRequest{TaskId: taskID, AfterSequence: 0}))
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events
		}
		for _, told := range must(message, err).GetEvents() {
			events = append(events, event{told.GetSequence(), describe(told)})
		}
	}
}

func describe(told *hundredfoldv1.Event) any {
	switch kind := told.GetKind().(type) {
	case *hundredfoldv1.Event_StateChange:
		return kind.StateChange.GetState().String()
	case *hundredfoldv1.Event_Emitted:
		return parse(kind.Emitted.GetPayload())
	default:
		return fmt.Sprintf("%T", kind)
	}
}

func refused(answer *hundredfoldv1.SubmitTaskResponse, err error) refusal {
	if err == nil {
		log.Fatalf("accepted: %v", answer)
	}
	said := status.Convert(err)
	explained := refusal{Code: code.Code(said.Code()).String(), Message: said.Message(), Fields: []string{}}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			explained.Reason, explained.Domain, explained.Metadata = detail.GetReason(), detail.GetDomain(), detail.GetMetadata()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				explained.Fields = append(explained.Fields, violation.GetField())
			}
		}
	}
	return explained
}

func behaviours(ctx context.Context, connection *grpc.ClientConn) (names []string) {
	coordinator := hundredfoldv1.NewCoordinatorServiceClient(connection)
	answer := must(coordinator.ListBehaviours(ctx, &hundredfoldv1.ListBehavioursRequest{}))
	for _, behaviour := range answer.GetBehaviours() {
		names = append(names, behaviour.GetName())
	}
	return names
}

func health(ctx context.Context, connection *grpc.ClientConn) string {
	request := &grpc_health_v1.HealthCheckRequest{Service: hundredfoldv1.TaskService_ServiceDesc.ServiceName}
	return must(grpc_health_v1.NewHealthClient(connection).Check(ctx, request)).GetStatus().String()
}

// services asks by reflection, as grpcurl does.
func services(ctx context.Context, connection *grpc.ClientConn) (names []string) {
	stream := must(grpc_reflection_v1alpha.NewServerReflectionClient(connection).ServerReflectionInfo(ctx))
	list := &grpc_reflection_v1alpha.ServerReflectionRequest_ListServices{}
	if err := stream.Send(&grpc_reflection_v1alpha.ServerReflectionRequest{MessageRequest: list}); err != nil {
		log.Fatal(err)
	}
	for _, service := range must(stream.Recv()).GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	return names
}

func parse(payload *hundredfoldv1.Payload) (value map[string]any) {
	if err := json.Unmarshal(payload.GetData(), &value); err != nil {
		log.Fatal(err)
	}
	return value
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
