# On the counts of tests/data/golden12: tests of edgeR against a fold-change threshold, with overdispersions given,
# and standard errors of linear predictors by glmGamPoi.
#   Rscript validation/make_golden_inference.R tests/data
# Made with edgeR 3.40.2 and glmGamPoi 1.10.2 (Debian's r-bioc-* packages), R 4.2.2.
# edgeR_treat: overdispersion given, worst-case p-values of the likelihood-ratio fit and of the quasi-likelihood fit
# at each threshold (log2), then the variance and the degrees of freedom of the latter.
# glmGamPoi_predict: linear predictor and standard error of three rows of the design, from the final fit, which is unscaled.
suppressMessages({library(edgeR); library(glmGamPoi)})
folder <- file.path(commandArgs(TRUE)[1], "golden12")
counts <- read.csv(file.path(folder, "counts.csv.gz"), row.names = 1); obs <- read.csv(file.path(folder, "obs.csv"))
Y <- as.matrix(counts); Y <- Y[rowSums(Y) > 0, ]
X <- model.matrix(~ batch + condition, obs)
theta <- signif(0.05 + 2 / rowMeans(Y), 6)
offset <- log(colSums(Y)); offset <- offset - mean(offset)
out <- data.frame(gene = rownames(Y), dispersion = theta)
lr <- glmFit(Y, X, dispersion = theta, offset = offset)
ql <- glmQLFit(Y, X, dispersion = theta, offset = offset)
for (t in c(0.2, 0.5, 1)) {
  out[[paste0("lr_", t)]] <- glmTreat(lr, coef = 3, lfc = t, null = "worst.case")$table$PValue
  out[[paste0("ql_", t)]] <- glmTreat(ql, coef = 3, lfc = t, null = "worst.case")$table$PValue
}
out$variance <- ql$var.post; out$df <- rep_len(ql$df.prior + ql$df.residual.zeros, nrow(Y))
put <- function(x, name) {
  for (j in names(x)) if (is.numeric(x[[j]])) x[[j]] <- signif(x[[j]], 12)
  f <- gzfile(file.path(folder, paste0(name, ".csv.gz")), "w"); write.csv(x, f, row.names = FALSE, quote = FALSE); close(f)
}
put(out, "edgeR_treat")

rows <- rbind(c(1, 0, 0), c(1, 1, 1), c(0, 0, 1))
m <- glm_gp(Y, design = X)
linear <- predict(m, newdata = rows, type = "link", se.fit = TRUE, offset = 0)
put(data.frame(gene = rownames(Y), dispersion = m$overdispersions, fit = linear$fit, se = linear$se.fit), "glmGamPoi_predict")
