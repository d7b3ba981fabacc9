module github.com/patas-dev/patas/go

go 1.19
