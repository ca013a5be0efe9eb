// Package drain takes a container instance out of service without losing the last line: it hears the notices of EC2 and Auto Scaling, has
// ECS drain the instance, follows its tasks to their end, waits until every log of the host is acknowledged by Fluentd, keeps the
// lifecycle hook of its own alive meanwhile and then completes it. What cannot be delivered in time goes to S3. When an instance comes
// back, it is taken back into service.
//
// It promises no more than its role may do: what is denied is said once, and the rest is done with what this host knows. What others do
// beside it (the ECS agent's Spot draining, ECS's managed draining) is harmless. It knows nothing of how logs travel.
package drain
