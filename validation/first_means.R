# Order of the genes by R's own fitted means of the first fit (at the moment dispersions), which R does not
# report but sorts its trend by. Ties share a rank.
#   Rscript validation/first_means.R REFERENCE_DIR/airway "~ celltype + dex" validation/data/airway_default_mean_ranks.csv.gz
suppressMessages(library(glmGamPoi))
a <- commandArgs(TRUE)
obs <- read.csv(file.path(a[1], "obs.csv"), stringsAsFactors = TRUE)
t <- read.csv(gzfile(file.path(a[1], "counts.csv.gz")), row.names = 1, check.names = FALSE)
Y <- as.matrix(t); storage.mode(Y) <- "integer"; Y <- Y[rowSums(Y) > 0, ]
s <- colSums(Y); s <- s / exp(mean(log(s)))
m <- rowMeans(Y); theta <- pmax((apply(Y, 1, var) - m / mean(s)) / m^2, 0)
fit <- glm_gp(Y, design = model.matrix(as.formula(a[2]), obs), size_factors = s, overdispersion = theta,
              overdispersion_shrinkage = FALSE)
out <- data.frame(gene = rownames(Y), rank = rank(rowMeans(fit$Mu), ties.method = "min"))
f <- gzfile(a[3], "w"); write.csv(out, f, row.names = FALSE, quote = FALSE); close(f)
