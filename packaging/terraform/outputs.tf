output "autoscaling_group_arn" {
  value       = aws_autoscaling_group.this.arn
  description = "For an ECS capacity provider"
}

output "security_group_id" {
  value = aws_security_group.this.id
}

output "role_name" {
  value = aws_iam_role.this.name
}
